"""Inference: from images to captions, with constant weights."""
