"""The page and the API call."""

from flask import Blueprint, Response, render_template_string

from maintenance_notice.plugin import NOTICES
from twistlock_console.common.models import Body
from twistlock_console.web.actions.audit import audited
from twistlock_console.web.common.database import database
from twistlock_console.web.openapi.api_call import ApiCall, read_json_body
from twistlock_console.web.security.guards import guard_api, guard_pages
from twistlock_console.web.ui.layout import add_tab

PAGE = "{% extends 'base.html' %}{% block content %}<p>{{ text }}</p>{% endblock %}"
pages = Blueprint("notice", __name__)
calls = Blueprint("notice_api", __name__)
guard_pages(pages, NOTICES)
guard_api(calls, NOTICES)


class Notice(Body):
    """The notice as the API takes it."""

    text: str = ""


def init_app(app):
    """Register both blueprints and the tab of the page."""
    app.register_blueprint(pages)
    app.register_blueprint(calls)
    add_tab(app, "Manage / Maintenance", "Notice", "notice.show")


@pages.get("/manage/notice")
def show():
    """Show the notice."""
    found = database()["maintenance_notices"].find_one({"_id": "notice"}) or {}
    return render_template_string(PAGE, text=found.get("text", "There is no notice."))


@calls.put("/api/v1/maintenance-notice")
@ApiCall(body=Notice)
def put_notice():
    """Change the notice."""
    with audited("maintenance", "changed the maintenance notice"):
        new = read_json_body(Notice).model_dump()
        notices = database()["maintenance_notices"]
        notices.replace_one({"_id": "notice"}, new, upsert=True)
    return Response()
