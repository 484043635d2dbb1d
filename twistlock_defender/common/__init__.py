"""Leaf modules that the other packages of the Defender use."""
