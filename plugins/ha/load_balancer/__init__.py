"""Render the configuration of load balancers."""
