"""From tasks to suggestions, by the champion of a project."""
