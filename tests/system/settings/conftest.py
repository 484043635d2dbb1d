"""Fixtures that both layers of settings use."""

from tests.unit.settings.test_settings import load

__all__ = ["load"]
