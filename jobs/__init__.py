"""Work that runs later and elsewhere: the queue, the worker, a module for each job."""
