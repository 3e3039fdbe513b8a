"""Processes of a job: groups of them that train together, the end of their parent, and waiting."""
