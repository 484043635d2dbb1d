"""A host that asks to join without having installed anything."""

import json
import re
import shlex
from typing import Any

from tests.join.bare_host import BareHost
from tests.join.installed import Site
from twistlock_console import __version__
from twistlock_console.pki.identity_files import make_key, make_request

TOKEN = re.compile(r"join-[\w-]{43}")
REQUESTS = "/api/v1/high-availability/join-requests"


def ask_to_join(
    site: Site, host: BareHost, *, address: str = "", version: str = __version__
) -> Any:
    """Ask from *host* to be let in at *address*; what the primary answers."""
    primary = site.serving()
    token = TOKEN.search(site.command(primary))
    assert token is not None
    key = host.host.folder / "key.pem"
    make_key(key)
    body = {
        "address": address or host.address,
        "version": version,
        "request": make_request(key, "x").decode(),
    }
    said = host.bash(
        f"curl -sk -H 'authorization: Bearer {token[0]}' "
        f"-H 'content-type: application/json' -d {shlex.quote(json.dumps(body))} "
        f"https://{primary.address}:8083{REQUESTS}"
    )
    return json.loads(said)
