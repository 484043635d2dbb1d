"""A node with the files of an earlier release moves to the cluster's own authority."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.alone_node import AloneNode
from tests.faults.asking import as_defender
from tests.hosts.server_folder import server_folder
from tests.hosts.waiting import wait_for
from tests.system.cluster.test_renewal_on_a_node import (
    Visitor,
    make_papers,
    serials_on_disk,
)
from tests.unit.pki.test_certificates import make_node
from tests.unit.pki.test_cluster_identity import make_earlier
from twistlock_console.pki.certificates import stored_phase
from twistlock_console.pki.trust_phase import TrustPhase


@pytest.fixture(scope="module")
def earlier_node(request: pytest.FixtureRequest) -> Iterator[AloneNode]:
    """A node that serves, with an authority and certificates of an earlier release."""
    with server_folder(request, "earlier") as folder:
        certificates = folder / "data/certificates"
        certificates.mkdir(parents=True)
        (folder / "data").chmod(0o700)
        make_earlier(make_node(certificates))
        started = AloneNode(folder)
        try:
            wait_for(started.serves, 60, "the node to serve")
            yield started
        finally:
            started.process.kill()
            started.process.wait()


def is_refused(place: tuple[str, int], context: ssl.SSLContext) -> bool:
    """Return whether the server at *place* ends the connection in the handshake.

    In TLS 1.3 a client learns of it when it reads; nothing is sent to it before.
    """
    try:
        with (
            socket.create_connection(place, timeout=120) as plain,
            context.wrap_socket(plain, server_hostname=place[0]) as tls,
        ):
            tls.settimeout(2)
            return tls.recv(1) == b""
    except TimeoutError:
        return False
    except ssl.SSLCertVerificationError:
        raise  # ours, of the server: it would prove nothing
    except OSError:
        return True


def test_it_moves_while_it_serves(earlier_node: AloneNode, tmp_path: Path) -> None:
    """No connection is cut, no process ends, and then no Defender gets in."""
    node, folder = earlier_node, earlier_node.settings.folders.certificates
    address = node.settings.node_address
    defenders_port = (address, node.settings.communication_port)
    nodes_ports = (node.settings.node_api_port, node.settings.database_port)
    make_papers(node, tmp_path)
    defender = as_defender(tmp_path)
    defender.load_verify_locations(folder / "cluster-ca.pem")
    with ExitStack() as things:
        visitor = Visitor(node, tmp_path, things)
        connection, pids = visitor.ask(), node.status()["pids"]

        wait_for(
            lambda: stored_phase(folder) is TrustPhase.CLUSTER_ONLY, 60, "the move"
        )

        wait_for(
            lambda: visitor.serials() == serials_on_disk(node), 10, "all show them"
        )
        for port in nodes_ports:
            wait_for(
                lambda port=port: is_refused((address, port), defender), 10, "refusal"
            )
        assert not is_refused(defenders_port, defender)
        assert visitor.ask() == connection
        assert node.status()["pids"] == pids
    log = (node.settings.folders.log / "console.log").read_text()
    assert re.findall(r"entered phase (\w+) of the trust migration", log) == [
        "PRESENT_CLUSTER",
        "CLUSTER_ONLY",
    ]


def test_nothing_of_before_is_accepted(earlier_node: AloneNode) -> None:
    """Neither the service certificate nor a connection without one."""
    folder = earlier_node.settings.folders.certificates
    service = ssl.create_default_context(cafile=folder / "cluster-ca.pem")
    bare = ssl.create_default_context(cafile=folder / "cluster-ca.pem")
    service.load_cert_chain(folder / "node.pem", folder / "node-key.pem")

    for port in (
        earlier_node.settings.node_api_port,
        earlier_node.settings.database_port,
    ):
        place = (earlier_node.settings.node_address, port)
        assert is_refused(place, service)
        assert is_refused(place, bare)
