"""Alerts: messages by webhook and syslog when something goes wrong."""
