"""Fixtures that both layers of support use."""

from tests.unit.support.test_support import settings

__all__ = ["settings"]
