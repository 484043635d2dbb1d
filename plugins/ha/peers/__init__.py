"""Exchange heartbeats with the other nodes."""
