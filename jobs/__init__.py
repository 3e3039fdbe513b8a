"""Background work: the queue, the worker, the jobs."""
