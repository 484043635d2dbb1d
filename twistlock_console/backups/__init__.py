"""Backups: made, listed, verified and restored; what decides is pure."""
