"""Put on Label Studio's PYTHONPATH by `label_studio_server.py`; nothing of ours imports from here."""
