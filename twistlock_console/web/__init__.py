"""The pages and the REST API, as one Flask application."""
