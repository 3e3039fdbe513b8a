"""Backup of an installation to one file, and restore."""
