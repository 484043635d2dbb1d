"""Database, JSON and errors of a request."""
