"""Revoke certificates, keys, tokens, sessions and accounts; see docs/security.md."""
