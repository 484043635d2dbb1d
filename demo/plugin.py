"""Define the demo as a plugin: its command, and the API call of its writer."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from twistlock_console.accounts.rights import Area, Right
from twistlock_console.plugins import ConsolePlugin
from twistlock_console.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

VARIABLE = "TWISTLOCK_DEMO"
WRITES = Area(
    "Writes of the demo",
    (Right.CHANGE, Right.NONE, Right.NONE, Right.NONE),
    documented=False,
)


class DemoPlugin(ConsolePlugin):
    """Shows a failover on one machine; see the command `demo`."""

    name = "demo"
    rights = (WRITES,)

    def enabled(self, settings: Settings) -> bool:
        """Return whether the demo started this node."""
        del settings
        return bool(os.environ.get(VARIABLE))

    def init_app(self, app: "Flask") -> None:
        """Register the API call with which the demo counts writes."""
        from demo import writes_api

        app.register_blueprint(writes_api.bp)

    def commands(self) -> Mapping[str, str]:
        """Return the command `demo`."""
        return {"demo": "demo.command"}


plugin = DemoPlugin()
