"""Figures of the loop: how good suggestions are, and where that leads."""
