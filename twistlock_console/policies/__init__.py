"""Validate and store the policies that Defenders enforce."""
