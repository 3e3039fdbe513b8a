"""Fine-tuning runs, comparisons, sweep trials."""
