"""Serve pages and API with gunicorn."""
