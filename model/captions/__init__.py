"""Captions as text: normal form, equality, orthography, tokens for the metrics."""
