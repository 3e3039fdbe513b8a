"""What `captionloop up` runs on one machine for a newcomer: Redis, Label Studio, the backend, a worker, a sample."""
