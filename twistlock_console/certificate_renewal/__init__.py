"""Renew the certificates of this node."""
