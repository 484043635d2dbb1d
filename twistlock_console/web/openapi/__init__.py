"""Descriptions of API calls, models of their bodies, and the OpenAPI document."""
