"""`captionloop up`: Redis, Label Studio, the backend, a worker and a sample project on one machine."""
