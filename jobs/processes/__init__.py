"""Process groups for data-parallel training, parent death, and retrying."""
