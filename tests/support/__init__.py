"""Real parts for the tests: a Redis, a Label Studio, a browser."""
