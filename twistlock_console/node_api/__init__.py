"""The API between nodes, over mutual TLS."""
