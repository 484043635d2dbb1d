"""Pages and API of high availability.

Both call the node process of this host over the node API; all decisions are made there.
"""

from flask import Flask

from plugins.ha.web import api, extensions, joining, page
from twistlock_console.web.ui.layout import add_system_tab


def init_app(app: Flask) -> None:
    """Register the tab, its pages, the API, the banner and the metrics in *app*."""
    page.init_app(app)
    api.init_app(app)
    joining.init_app(app)
    extensions.init_app(app)
    add_system_tab(app, "High Availability", "ha.cluster")
