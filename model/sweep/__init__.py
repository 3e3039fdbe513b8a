"""The search for good settings: its space, its trials, its state."""
