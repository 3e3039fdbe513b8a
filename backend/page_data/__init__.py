"""The data of pages and JSON API, gathered from the database into dataclasses. Without Flask."""
