"""Declare, query and export lists."""
