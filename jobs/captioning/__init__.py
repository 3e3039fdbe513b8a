"""Suggestions for a project's tasks, and the order in which Label Studio asks about them."""
