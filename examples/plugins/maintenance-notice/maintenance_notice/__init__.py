"""Example plugin: a notice of planned maintenance."""
