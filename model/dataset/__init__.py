"""The dataset: corrections, images, split, near-duplicates, problems, review."""
