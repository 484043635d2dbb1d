"""The faces of high availability on the web: the page and the API.

Both ask this node's own brain over the node API, and decide nothing themselves.
"""

from flask import Flask

from plugins.ha.web import api, downloads, metrics, page, takeover_banner
from twistlock_console.web.actions.metrics import add_collector
from twistlock_console.web.ui.menu import add_system_tab


class HaWeb:
    """What high availability adds to the Console's web application."""

    def init_app(self, app: Flask) -> None:
        """Add the tab, its pages and the API."""
        page.init_app(app)
        api.init_app(app)
        downloads.init_app(app)
        takeover_banner.init_app(app)
        add_collector(app, metrics.collect)
        add_system_tab(app, "High Availability", "ha.cluster")
