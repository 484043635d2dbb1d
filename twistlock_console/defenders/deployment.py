"""The one command that installs a Defender, and the script that it runs."""

import re
import shlex
from importlib import resources
from typing import Any

from pymongo.database import Database

from twistlock_console.common.errors import Refused
from twistlock_console.pki.certificates import names_in, public_key_pin
from twistlock_console.pki.identity_files import NODE, read_certificate
from twistlock_console.settings import Settings

OWN = {"127.0.0.1", "localhost"}
SCRIPT = "/api/v1/scripts/defender.sh"
ADDRESS = re.compile(r"[A-Za-z0-9.:-]{1,253}")


def console_names(settings: Settings) -> list[str]:
    """The names by which a host may reach the Console; those of all nodes first."""
    certificate = read_certificate(settings.folders.certificates / NODE)
    shared = list(settings.console_san)
    others = sorted(names_in(certificate) - OWN - set(shared))
    return [*shared, *others] or [settings.node_address]


def addresses_for(
    database: Database[dict[str, Any]], settings: Settings, chosen: str
) -> list[str]:
    """Where a Defender looks for Consoles that was deployed by the name *chosen*.

    A name of the load balancer leads to whoever serves; an address leads to one node,
    so the other members' addresses go with it.
    """
    if chosen in settings.console_san:
        return [chosen]
    hosts = database.client.admin.command("hello").get("hosts", [])
    return list(dict.fromkeys([chosen, *(host.rpartition(":")[0] for host in hosts)]))


def own_pin(settings: Settings) -> str:
    """The pin of this node's key, as ``curl --pinnedpubkey`` takes it."""
    return public_key_pin((settings.folders.certificates / NODE).read_bytes())


def deploy_command(settings: Settings, name: str, token: str) -> str:
    """The command to run on a host; raises Refused if *name* is not ours."""
    if name not in console_names(settings):
        raise Refused(f"{name!r} is not a name of this Console; choose one of the list")
    address = f"https://{_bracketed(name)}:{settings.management_port_https}"
    return (
        f"curl -fsSL --noproxy '*' --insecure --pinnedpubkey '{own_pin(settings)}' "
        f"-H 'authorization: Bearer {token}' "
        f"'{address}{SCRIPT}?consoleaddr={name}' | sudo bash"
    )


def defender_script(settings: Settings, name: str, token: str, version: str) -> str:
    """The script, with this node's values at its top."""
    if not ADDRESS.fullmatch(name):
        raise Refused("consoleaddr: give a name or an address of the Console")
    values = {
        "CONSOLE": f"{_bracketed(name)}:{settings.management_port_https}",
        "CONSOLE_NAME": name,
        "PIN": own_pin(settings),
        "TOKEN": token,
        "VERSION": version,
    }
    head = [f"{key}={shlex.quote(value)}" for key, value in values.items()]
    body = resources.files("twistlock_console.web") / "scripts" / "defender.sh"
    start = ["#!/usr/bin/env bash", "set -euo pipefail", "umask 022", *head]
    return "\n".join([*start, body.read_text("utf-8")])


def refusal_script(sentence: str) -> str:
    """A script that only says why there is none: bash is all that reads it."""
    said = shlex.quote(f"Error: {sentence}")
    return f"#!/usr/bin/env bash\nprintf '%s\\n' {said} >&2\nexit 1\n"


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name
