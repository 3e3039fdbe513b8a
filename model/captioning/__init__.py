"""Inference: from images to captions, with weights that never change."""
