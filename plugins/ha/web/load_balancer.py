"""The file for a load balancer of this cluster, as the page and the API give it."""

from flask import Response, abort

from plugins.ha.load_balancer.files import for_cluster
from plugins.ha.load_balancer.templates import FILES, Kind
from plugins.ha.web import node_client


def load_balancer_file(kind: str) -> Response:
    """Give the file of the *kind* that the address names, to save."""
    if kind not in list(Kind):
        abort(404)
    wanted = Kind(kind)
    text = for_cluster(wanted, node_client.settings(), node_client.look()["nodes"])
    answer = Response(text, mimetype="text/plain")
    answer.headers.set("Content-Disposition", "attachment", filename=FILES[wanted])
    return answer
