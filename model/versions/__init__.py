"""The version store: manifests, model cards, comparisons, reports."""
