"""From a task to a suggestion, by the champion of its project."""
