"""Figures of the loop over time, and a forecast."""
