"""Hatchling's metadata hook: the wheel depends on what requirements.in names."""

from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RequirementsHook(MetadataHookInterface):
    """Fill in the dependencies, so that they are listed in one place only."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the dependencies in *metadata*."""
        lines = Path(self.root, "requirements.in").read_text("utf-8").splitlines()
        stripped = (line.partition("#")[0].strip() for line in lines)
        metadata["dependencies"] = [line for line in stripped if line]
