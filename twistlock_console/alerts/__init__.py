"""Alerts: what others are told by webhook and syslog when something goes wrong."""
