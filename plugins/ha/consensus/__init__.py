"""Decide who serves: the lease, the election and the role, as pure functions."""
