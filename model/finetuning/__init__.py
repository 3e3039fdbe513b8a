"""Fine-tuning from a snapshot to a candidate and its verdict, for runs and for `captionloop train`."""
