"""Training: from captions to gradients, and everything that a run of it keeps."""
