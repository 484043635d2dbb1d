"""Enrol the Defender and renew its certificate."""
