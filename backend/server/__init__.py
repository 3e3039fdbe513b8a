"""HTTP: the app, the protocol of Label Studio's ML backends, and the server that runs it."""
