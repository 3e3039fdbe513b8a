"""BLIP checkpoints: sources, loading, preprocessing, generation settings."""
