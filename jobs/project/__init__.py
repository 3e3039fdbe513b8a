"""Sync of corrections, promotion, changes of a project's settings."""
