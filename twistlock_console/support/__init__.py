"""Collect the support bundle."""
