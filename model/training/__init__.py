"""Fine-tuning: targets, forward passes, the training loop, its logs and resume state."""
