"""Datasets in and out: the formats that others read and write."""
