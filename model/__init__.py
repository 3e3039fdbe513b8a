"""BLIP and what it is made of, the dataset, versions: no Flask, no Redis, no Label Studio."""
