"""Hyperparameter search: space, trials, state."""
