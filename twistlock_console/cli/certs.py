"""`twistlock-console certs …`: this host's certificates, and their renewal."""

import argparse
import os
from pathlib import Path
from typing import Any

from twistlock_console.cli.audit import record_command
from twistlock_console.node_api.client import NodeClient
from twistlock_console.pki.certificates import names_in
from twistlock_console.pki.cluster_identity import stored_phase
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    CLUSTER_AUTHORITY,
    CLUSTER_BUNDLE,
    NODE,
    load_certificate,
)
from twistlock_console.pki.trust_phase import TrustPhase
from twistlock_console.settings import load_settings

SECONDS = 30.0
EXPLAINED = {
    TrustPhase.UNKNOWN: "not known; the node has not started with this release yet",
    TrustPhase.ACCEPT_BOTH: (
        f"accept {CLUSTER_AUTHORITY} and {AUTHORITY}, show {NODE}; the node moves on "
        "when all other nodes run this release"
    ),
    TrustPhase.PRESENT_CLUSTER: (
        f"accept {CLUSTER_AUTHORITY} and {AUTHORITY}, show {CLUSTER_BUNDLE}; the node "
        "moves on when all other nodes do so"
    ),
    TrustPhase.CLUSTER_ONLY: f"accept {CLUSTER_AUTHORITY} alone",
}


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the commands."""
    certs = commands.add_parser("certs", help="this host's certificates: show, renew")
    verbs = certs.add_subparsers(required=True, metavar="VERB")
    show = verbs.add_parser("show", help="show what they are for and when they end")
    show.set_defaults(run=_show)
    renew = verbs.add_parser("renew", help="renew the node's, without interruption")
    renew.set_defaults(run=_renew)
    for verb in (show, renew):
        verb.add_argument("--config", type=Path, default=config, metavar="FILE")


def _show(options: argparse.Namespace) -> None:
    settings = load_settings(options.config, os.environ, on_this_host=False)
    folder = settings.folders.certificates
    for name in (AUTHORITY, NODE, CLUSTER_AUTHORITY, CLUSTER_BUNDLE):
        found = load_certificate(folder / name)
        ends = found.not_valid_after_utc
        names = ", ".join(sorted(names_in(found)))
        print(f"{name:<18} ends on {ends:%Y-%m-%d}  {names}".rstrip())  # noqa: T201
    print(f"MongoDB and node API: {EXPLAINED[stored_phase(folder)]}")  # noqa: T201


def _renew(options: argparse.Namespace) -> None:
    settings = load_settings(options.config, os.environ, on_this_host=False)
    with NodeClient(settings, settings.node_address, timeout=SECONDS) as client:
        done: dict[str, Any] = client.post("/v1/certificates/renew")
    names = ", ".join(done["names"])
    print(f"Renewed until {done['expires'][:10]}, for {names}.")  # noqa: T201
    told = f"renewed the certificate of {settings.node_address}"
    record_command(settings, "certs renew", told)
