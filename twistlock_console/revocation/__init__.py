"""Revocation of everything that proves who somebody is; see docs/security.md."""
