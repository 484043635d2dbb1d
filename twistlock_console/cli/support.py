"""`twistlock-console support dump`: what support needs from all reachable nodes."""

import argparse
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings, load_settings
from twistlock_console.support.bundle import log_text, versions

SECONDS = 30.0


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the command."""
    support = commands.add_parser("support", help="what support needs: dump")
    verbs = support.add_subparsers(required=True, metavar="VERB")
    dump = verbs.add_parser(
        "dump", help="collect status, history, logs and settings of all nodes"
    )
    dump.add_argument(
        "address", nargs="*", help="a node to ask, should this one not run"
    )
    dump.add_argument(
        "--output", type=Path, metavar="FILE", help="where to put it; /tmp"
    )
    dump.add_argument("--config", type=Path, default=config, metavar="FILE")
    dump.set_defaults(run=_dump)


def _dump(options: argparse.Namespace) -> None:
    settings = load_settings(options.config, os.environ, on_this_host=False)
    # The account that this runs under may write there, whoever's folder we are in.
    name = f"twistlock-support-{int(time.time())}.tar.gz"
    output = options.output or Path(tempfile.gettempdir()) / name
    told = collect(settings, options.address)
    write(output, told)
    silent = sorted(node for node, parts in told.items() if "err" in parts)
    print(f"Wrote {output}, from {len(told) - len(silent)} of {len(told)} nodes.")  # noqa: T201
    for node in silent:
        print(f"{node} did not answer: {told[node]['err']}")  # noqa: T201


def collect(settings: Settings, more: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Ask this host's node, those it knows, and *more*; a silent one says why not."""
    mine = settings.node_address
    here = _ask(settings, mine)
    known = here.get("peers", [])
    peers = [*(known if isinstance(known, list) else []), *more]
    told = {mine: here["parts"] if "parts" in here else _of_a_dead_node(settings, here)}
    for peer in dict.fromkeys(peers):
        answer = _ask(settings, peer)
        told[peer] = answer.get("parts", answer)
    return told


def _ask(settings: Settings, address: str) -> dict[str, Any]:
    try:
        with NodeClient(settings, address, timeout=SECONDS) as client:
            return dict(client.get("/v1/support"))
    except ConsoleError as error:
        return {"err": str(error)}


def _of_a_dead_node(settings: Settings, answer: dict[str, Any]) -> dict[str, Any]:
    """What can be read without the node; why it died is in its log."""
    try:
        return {**answer, "versions": versions(), "log": log_text(settings)}
    except OSError:
        return answer


def write(output: Path, told: dict[str, dict[str, Any]]) -> None:
    """Write one file a part, for the owner alone; raises Refused if it cannot."""
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refused(f"{output} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file, tarfile.open(None, "w:gz", file) as tar:
        for node, parts in told.items():
            for name, part in parts.items():
                _add(tar, f"{node}/{name}", part)


def _add(tar: tarfile.TarFile, name: str, part: object) -> None:
    as_text = isinstance(part, str)
    text = part if isinstance(part, str) else json.dumps(part, indent=2)
    entry = tarfile.TarInfo(f"twistlock-support/{name}.{'txt' if as_text else 'json'}")
    data = text.encode()
    entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
    tar.addfile(entry, io.BytesIO(data))
