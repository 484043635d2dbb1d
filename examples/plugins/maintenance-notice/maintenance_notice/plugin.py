"""Declare what the plugin adds to the Console; docs/plugins.md explains each part."""

import logging

from twistlock_console.accounts.rights import Area, Right
from twistlock_console.events.types import RoleChanged
from twistlock_console.plugins import ConsolePlugin
from twistlock_console.settings.keys import Key

_, READ, CHANGE = Right
NOTICES = Area("Maintenance notice", (CHANGE, READ, READ, READ))
CONTACT = Key("MAINTENANCE_CONTACT", "", str, "Whom to ask about planned maintenance.")
log = logging.getLogger(__name__)


class MaintenanceNotice(ConsolePlugin):
    """Shows a notice of planned maintenance."""

    name = "maintenance-notice"
    settings = (CONTACT,)
    rights = (NOTICES,)
    audit_kinds = ("maintenance",)
    backup_exclusions = ("maintenance_notices",)

    def init_app(self, app):
        """Add the page and the API."""
        from maintenance_notice import web

        web.init_app(app)

    def init_node(self, node):
        """Log each change of role, and every ten seconds the contact for questions."""
        contact = node.settings.plugin_values[CONTACT.name]
        node.bus.subscribe(RoleChanged, lambda event: log.info("now %s", event.new))
        node.scheduler.every(10.0, "notice", lambda: log.info("ask %s", contact))

    def commands(self):
        """Return `notice`."""
        return {"notice": "maintenance_notice.command"}


plugin = MaintenanceNotice()
