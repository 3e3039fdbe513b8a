"""Runs that learn: fine-tuning, comparing, trials of a sweep."""
