"""A Console without high availability: one node that always serves."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest
import urllib3

from tests.cluster.alone_node import PROJECT, AloneNode
from tests.hosts.waiting import wait_for
from tests.unit.project.test_docs import documented_commands
from twistlock_console.pki.tls import client_context


def test_high_availability_is_invisible(node: AloneNode) -> None:
    """Neither the API nor the command line knows a cluster."""
    done = subprocess.run(
        [sys.executable, "app.py", "ha", "status", "--config", str(node.config)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert not answers_ok(node, "/api/v1/high-availability")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("server", ["management", "defenders"])
def test_a_server_that_ends_is_opened_again(node: AloneNode, server: str) -> None:
    """Without another node to take over, the same one serves again by itself."""
    wait_for(node.serves, 30, "the node to serve")
    pid = node.status()["pids"][server]

    os.kill(pid, SIGKILL)

    wait_for(
        lambda: node.serves() and node.status()["pids"].get(server) not in (None, pid),
        30,
        f"{server} to serve again",
    )


def test_a_second_node_on_the_same_folder_is_refused(node: AloneNode) -> None:
    """The first one is not disturbed."""
    done = subprocess.run(
        [sys.executable, "app.py", "run", "--config", str(node.config)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert node.serves()


#: What the manual's commands may do to a node that is being tested: look.
SAFE = ("status", "config", "certs show", "support dump")
TYPED = sorted(
    {
        words[1:]
        for words in documented_commands()
        if words[1] in SAFE or " ".join(words[1:3]) in SAFE
    }
)


@pytest.mark.parametrize("words", TYPED, ids=" ".join)
def test_commands_of_the_manual_run(
    node: AloneNode, words: tuple[str, ...], tmp_path: Path
) -> None:
    """Those that only look, just as they stand there."""
    wait_for(node.serves, 30, "the node to serve")
    command = [sys.executable, str(PROJECT / "app.py"), *words]
    done = subprocess.run(
        [*command, "--config", str(node.config)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_name_is_added_and_no_connection_ends(node: AloneNode) -> None:
    """New connections see the new certificate; the one that stands goes on."""
    wait_for(node.serves, 30, "the node to serve")
    port = node.settings.management_port_https
    context = client_context(node.settings.folders.certificates)
    here = node.settings.node_address
    with urllib3.HTTPSConnectionPool(
        here, port, ssl_context=context, retries=False, timeout=120, maxsize=1
    ) as standing:
        account = {"username": "admin", "password": "correct horse battery"}
        standing.request("POST", "/api/v1/signup", json=account)
        token = standing.request("POST", "/api/v1/authenticate", json=account).json()
        bearer = {"Authorization": f"Bearer {token['token']}"}

        body = {"consoleSAN": ["lb.example.com"]}
        done = standing.request(
            "POST", "/api/v1/settings/certs", json=body, headers=bearer
        )

        def shown() -> bool:
            raw = socket.create_connection((here, port), timeout=120)
            with context.wrap_socket(raw, server_hostname=here) as secured:
                found = secured.getpeercert() or {}
            return ("DNS", "lb.example.com") in found["subjectAltName"]

        wait_for(shown, 30, "the new name in the certificate")
        after = standing.request("GET", "/api/v1/settings/certs", headers=bearer)
        connections = standing.num_connections

    assert done.status == 200, done.data
    assert after.json()["consoleSAN"] == ["lb.example.com"]
    assert connections == 1


def test_uploads_are_streamed_and_open_calls_take_little(node: AloneNode) -> None:
    """Megabytes with an account, with a length or without; 64 KiB without one."""
    wait_for(node.serves, 30, "the node to serve")
    context = client_context(node.settings.folders.certificates)
    account = {"username": "admin", "password": "correct horse battery"}
    proof = urllib3.make_headers(basic_auth=":".join(account.values()))
    large, upload = b"x" * 5_000_000, "/api/v1/backups/a.tar.gz"
    with urllib3.HTTPSConnectionPool(
        node.settings.node_address,
        node.settings.management_port_https,
        ssl_context=context,
        retries=False,
        timeout=120,
    ) as pool:
        pool.request("POST", "/api/v1/signup", json=account)

        def send(path: str, body: bytes, *, chunked: bool, **headers: str) -> int:
            answer = pool.request(
                "POST", path, body=body, chunked=chunked, headers=headers
            )
            return answer.status

        uploads = [send(upload, large, chunked=c, **proof) for c in (False, True)]
        # A client that still sends is cut where the server stops reading.
        refused = large[:500_000]
        unknown = [send(upload, refused, chunked=c) for c in (False, True)]
        login = "/api/v1/authenticate"
        logins = [send(login, large[:70_000], chunked=c) for c in (False, True)]
        ping = pool.request("GET", "/api/v1/_ping/", headers={"Authorization": "x"})

    # It is no backup, as is seen once all of it has arrived.
    assert uploads == [400, 400]
    assert unknown == [413, 411]
    assert logins == [413, 411]
    assert (ping.status, ping.data) == (200, b"OK")


def test_it_ends_in_an_orderly_way(node: AloneNode) -> None:
    """SIGTERM: exit code 0, and neither a server nor mongod is left."""
    pids = [node.process.pid, *node.status()["pids"].values()]

    node.process.send_signal(SIGTERM)
    node.process.wait(60)

    assert node.process.returncode == 0
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def answers_ok(node: AloneNode, path: str) -> bool:
    """Whether *path* is something there."""
    with urllib3.HTTPSConnectionPool(
        node.settings.node_address,
        node.settings.management_port_https,
        ssl_context=client_context(node.settings.folders.certificates),
        retries=False,
        timeout=120,
    ) as pool:
        return pool.request("GET", path).status != 404
