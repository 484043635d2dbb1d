"""Database access, JSON and error responses of a request."""
