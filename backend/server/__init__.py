"""HTTP: the Flask app, Label Studio's ML-backend protocol, and the server."""
