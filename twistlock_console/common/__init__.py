"""Clocks, files, errors and text that every package uses."""
