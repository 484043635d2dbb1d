"""Serve the page Manage > System > High Availability: nodes, roles and reasons."""

from datetime import UTC, datetime

from flask import (
    Blueprint,
    Flask,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from plugins.ha.declarations import HIGH_AVAILABILITY
from plugins.ha.messages import AddressBody, TargetBody, TokenIdBody
from plugins.ha.replication.member_state import NodeState
from plugins.ha.web import join_script, node_client
from plugins.ha.web.api import load_balancer_file
from plugins.ha.web.timeline import draw_chart, sort_phases, timelines
from twistlock_console.common.errors import ConsoleError
from twistlock_console.node_api.messages import NodeMessage
from twistlock_console.web.security.guards import guard_pages

bp = Blueprint(
    "ha",
    __name__,
    url_prefix="/manage/system/high-availability",
    template_folder="templates",
)
guard_pages(bp, HIGH_AVAILABILITY)


def init_app(app: Flask) -> None:
    """Register the page."""
    app.register_blueprint(bp)


@bp.get("")
def cluster() -> ResponseReturnValue:
    """Show the cluster."""
    return _render("ha/cluster.html", tokens=node_client.list_tokens())


@bp.get("/load-balancer/<kind>")
def load_balancer(kind: str) -> ResponseReturnValue:
    """Return the configuration of a load balancer for this cluster."""
    return load_balancer_file(kind)


@bp.post("/join-command")
def join_command() -> ResponseReturnValue:
    """Create a join command, and show it once with the cluster."""
    made = node_client.make_join_token()
    command = join_script.join_command(node_client.settings(), made.token)
    tokens = node_client.list_tokens()
    response = make_response(
        _render("ha/cluster.html", tokens=tokens, made=made, join_command=command)
    )
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.post("/revoke-token")
def revoke() -> ResponseReturnValue:
    """Revoke a join command."""
    token_id = request.form.get("id", "")
    return _call_and_redirect(
        "revoke-token", TokenIdBody(id=token_id), f"{token_id} was revoked."
    )


@bp.get("/live")
def live() -> ResponseReturnValue:
    """Return the part of the page that refreshes itself."""
    return _render("ha/live.html")


@bp.post("/apply")
def apply() -> ResponseReturnValue:
    """Admit the waiting hosts."""
    return _call_and_redirect(
        "apply", NodeMessage(), "The waiting hosts are being added."
    )


@bp.post("/switchover")
def switchover() -> ResponseReturnValue:
    """Start a switchover to the named node, or to the best standby."""
    address = request.form.get("address") or None
    where = address or "the best standby"
    return _call_and_redirect(
        "switchover",
        TargetBody(address=address),
        f"The switchover to {where} has started; this page shows when it is done.",
    )


@bp.get("/remove")
def confirm_remove() -> ResponseReturnValue:
    """Show the consequences of removing a node, and ask for confirmation."""
    address = request.args.get("address", "")
    cluster = node_client.get_cluster()
    states = {node.address: node.state for node in cluster.nodes}
    return render_template(
        "ha/remove.html",
        address=address,
        serves=address == cluster.primary,
        waits=states.get(address) == NodeState.REQUEST_JOIN,
    )


@bp.post("/remove")
def remove() -> ResponseReturnValue:
    """Remove a node."""
    address = request.form.get("address", "")
    return _call_and_redirect(
        "remove", AddressBody(address=address), f"{address} was removed."
    )


def _call_and_redirect(
    path: str, body: NodeMessage, action: str
) -> ResponseReturnValue:
    try:
        node_client.call_audited(path, body, action)
    except ConsoleError as error:
        flash(str(error), "error")
    else:
        flash(action)
    return redirect(url_for(".cluster"), 303)


def _render(template: str, **values: object) -> str:
    cluster = node_client.get_cluster()
    addresses = [node.address for node in cluster.nodes]
    chart = draw_chart(addresses, cluster.history, datetime.now(UTC))
    return render_template(
        template,
        cluster=cluster,
        chart=chart,
        timelines=timelines(cluster.history),
        sort_phases=sort_phases,
        **values,
    )
