"""What the pages and the JSON API show, gathered from the database into dataclasses. Knows no Flask."""
