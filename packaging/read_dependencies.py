"""Hatchling's metadata hook: the wheels depend on what requirements.in names."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RequirementsHook(MetadataHookInterface):
    """Fill in the dependencies, so that they are listed in one place only.

    The file is *requirements* of the hook's table in pyproject.toml; with *only*, the
    wheel depends on those of its distributions.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the dependencies in *metadata*."""
        file = Path(self.root, self.config.get("requirements", "requirements.in"))
        lines = file.read_text("utf-8").splitlines()
        stripped = (line.partition("#")[0].strip() for line in lines)
        found = {re.split(r"[<>=~!]", line)[0]: line for line in stripped if line}
        metadata["dependencies"] = [
            found[name] for name in self.config.get("only", found)
        ]
