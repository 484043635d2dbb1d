"""Fixtures that both layers of logs use."""

from tests.unit.logs.test_logs import settings

__all__ = ["settings"]
