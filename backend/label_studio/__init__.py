"""Everything specific to Label Studio: its API, label configs, JSON, and the images of its tasks."""
