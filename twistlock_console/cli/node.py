"""`twistlock-console status` and `certs …`: this host's node, and its certificates."""

from pathlib import Path

import click

from twistlock_console.certificate_renewal.renewal import RenewedCertificate
from twistlock_console.cli.audit import record_command
from twistlock_console.cli.options import (
    config_option,
    json_option,
    print_json,
    print_line,
    settings_of_running_node,
)
from twistlock_console.common.errors import NodeUnreachable
from twistlock_console.node_api.client import NodeClient
from twistlock_console.pki.certificates import stored_phase
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    CLUSTER_AUTHORITY,
    CLUSTER_BUNDLE,
    NODE,
    load_certificate,
    names_in,
)
from twistlock_console.pki.trust_phase import TrustPhase

TIMEOUT_S = 30.0
PHASE_TEXTS = {
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


@click.command("status", help="Show the state of this host's node.")
@config_option
@json_option
def status_command(config: Path, *, as_json: bool) -> int:
    """Print the status; return 1 if the node does not run."""
    settings = settings_of_running_node(config)
    with NodeClient(settings, settings.node_address) as client:
        try:
            status: dict[str, object] = client.get("/v1/status")
        except NodeUnreachable as error:
            status = {
                "address": settings.node_address,
                "running": False,
                "error": str(error),
            }
    if as_json:
        print_json(status)
    else:
        for name, value in status.items():
            print_line(f"{name:>10}  {value}")
    return 0 if status["running"] else 1


@click.group("certs", help="This host's certificates.")
def certs_command() -> None:
    """Group the commands of certificates."""


@certs_command.command("show", help="Show their names and when they expire.")
@config_option
def show(config: Path) -> None:
    """Print each certificate with its expiry date and its names."""
    folder = settings_of_running_node(config).folders.certificates
    for name in (AUTHORITY, NODE, CLUSTER_AUTHORITY, CLUSTER_BUNDLE):
        found = load_certificate(folder / name)
        ends = found.not_valid_after_utc
        names = ", ".join(sorted(names_in(found)))
        print_line(f"{name:<18} expires on {ends:%Y-%m-%d}  {names}".rstrip())
    print_line(f"MongoDB and node API: {PHASE_TEXTS[stored_phase(folder)]}")


@certs_command.command(
    "renew", help="Renew the node's certificate, without interruption."
)
@config_option
def renew(config: Path) -> None:
    """Renew the certificate of the running node, and print its names."""
    settings = settings_of_running_node(config)
    with NodeClient(settings, settings.node_address, timeout=TIMEOUT_S) as client:
        renewed = RenewedCertificate(**client.post("/v1/certificates/renew"))
    names = ", ".join(renewed.names)
    print_line(f"Renewed until {renewed.expires[:10]}, for {names}.")
    done = f"renewed the certificate of {settings.node_address}"
    record_command(settings, "certs renew", done)
