"""Modules that the other packages of the Defender use."""
