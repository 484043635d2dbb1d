"""Processes, schedules and the permit to serve, on the operating system."""
