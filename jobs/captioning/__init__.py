"""Suggestions for all tasks of a project, and the annotation order."""
