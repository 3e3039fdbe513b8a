"""All that knows Label Studio: its API, its label configs, its JSON, the images of its tasks."""
