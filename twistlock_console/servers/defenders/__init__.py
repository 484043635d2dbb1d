"""Serve the websockets of Defenders."""
