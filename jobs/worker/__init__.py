"""The process that works on what the queue brings."""
