"""Assemble the Defender and run it."""
