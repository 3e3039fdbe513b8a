"""BLIP, its training and evaluation, the dataset, versions. No Flask, no Redis, no Label Studio."""
