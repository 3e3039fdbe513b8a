"""Runs and requests: stored in the database, delivered by Redis."""
