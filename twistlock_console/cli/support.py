"""`twistlock-console support dump`: collect the support data of reachable nodes."""

import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from twistlock_console.cli.options import (
    config_option,
    print_line,
    settings_of_running_node,
)
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings
from twistlock_console.support.bundle import log_text, versions

TIMEOUT_S = 30.0


@click.group("support", help="Collect data for support.")
def command() -> None:
    """Group the commands of support."""


@command.command("dump", help="Collect status, history, logs and settings.")
@click.argument("address", nargs=-1)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write it; in /tmp if left out.",
)
@config_option
def dump(address: tuple[str, ...], output: Path | None, config: Path) -> None:
    """Write one file with the parts of every node; *address* names more nodes."""
    settings = settings_of_running_node(config)
    # The account that this runs under may write there, wherever it was started.
    name = f"twistlock-support-{int(time.time())}.tar.gz"
    file = output or Path(tempfile.gettempdir()) / name
    nodes = collect(settings, address)
    write(file, nodes)
    silent = sorted(node for node, parts in nodes.items() if "err" in parts)
    print_line(f"Wrote {file}, from {len(nodes) - len(silent)} of {len(nodes)} nodes.")
    for node in silent:
        print_line(f"{node} did not answer: {nodes[node]['err']}")


def collect(
    settings: Settings, more: Sequence[str] = ()
) -> dict[str, dict[str, object]]:
    """Collect the parts of this host's node, its peers and *more*; or an error each."""
    mine = settings.node_address
    here = _fetch(settings, mine)
    known = here.get("peers", [])
    peers = [*(known if isinstance(known, list) else []), *more]
    parts = _parts(here)
    found = {mine: _collect_offline(settings, here) if parts is None else parts}
    for peer in dict.fromkeys(peers):
        answer = _fetch(settings, peer)
        parts = _parts(answer)
        found[peer] = answer if parts is None else parts
    return found


def _parts(answer: dict[str, object]) -> dict[str, object] | None:
    parts = answer.get("parts")
    return parts if isinstance(parts, dict) else None


def _fetch(settings: Settings, address: str) -> dict[str, object]:
    try:
        with NodeClient(settings, address, timeout=TIMEOUT_S) as client:
            return dict(client.get("/v1/support"))
    except ConsoleError as error:
        return {"err": str(error)}


def _collect_offline(
    settings: Settings, answer: dict[str, object]
) -> dict[str, object]:
    """Collect the parts that need no running node: versions and the log."""
    try:
        return {**answer, "versions": versions(), "log": log_text(settings)}
    except OSError:
        return answer


def write(output: Path, nodes: dict[str, dict[str, object]]) -> None:
    """Write a tar with one file per part, for the owner alone; raises Refused."""
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refused(f"{output} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file, tarfile.open(None, "w:gz", file) as tar:
        for node, parts in nodes.items():
            for name, part in parts.items():
                _add(tar, f"{node}/{name}", part)


def _add(tar: tarfile.TarFile, name: str, part: object) -> None:
    as_text = isinstance(part, str)
    text = part if isinstance(part, str) else json.dumps(part, indent=2)
    entry = tarfile.TarInfo(f"twistlock-support/{name}.{'txt' if as_text else 'json'}")
    data = text.encode()
    entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
    tar.addfile(entry, io.BytesIO(data))
