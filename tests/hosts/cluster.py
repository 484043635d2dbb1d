"""Three nodes on three test hosts, formed the way an administrator forms them."""

import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plugins.ha.membership.join_client import JoinInvitation
from tests.hosts.console_api import PORT, ConsoleApi
from tests.hosts.laboratory import Laboratory
from tests.hosts.node import HostedNode
from tests.hosts.waiting import wait_for
from twistlock_console.pki.authority import sign_request
from twistlock_console.pki.identity_files import make_key, make_request
from twistlock_console.pki.tls import Usage

NAMES = ("h1", "h2", "h3")
FORM_SECONDS = 60
CONVERGE_SECONDS = 45


class Cluster:
    """The nodes by host name; *client* is a fourth host, for users and probers."""

    def __init__(
        self, laboratory: Laboratory, *, own_clocks: bool = False, **keys: str
    ) -> None:
        self.laboratory = laboratory
        self.client = laboratory.host("client")
        self.nodes: dict[str, HostedNode] = {}
        for name in NAMES:
            state = "PRIMARY" if name == NAMES[0] else "SECONDARY"
            self.nodes[name] = HostedNode(
                laboratory.host(name),
                self.client,
                own_clock=own_clocks,
                **{"HIGH_AVAILABILITY_STATE": state, **keys},
            )
        self.certificates = self.nodes["h1"].settings.folders.certificates
        self.api = ConsoleApi(self.client, self.certificates / "ca.pem")

    def form(self, sign_up: Callable[[str], object] | None = None) -> None:
        """Start all nodes and have them join; returns when three members vote.

        *sign_up* makes the first administrator on the node at the address it gets.
        """
        first, *others = self.nodes.values()
        first.start()
        wait_for(lambda: self.primary() == "h1", FORM_SECONDS, "the first node serves")
        # It says so once its servers run, a moment before they listen.
        wait_for(
            lambda: self.accepts(first.address), FORM_SECONDS, "its ports are open"
        )
        (sign_up or self.api.sign_up)(first.address)
        for node in others:
            self.invite(node, first)
            node.start()
        wait_for(lambda: self.view(first)["applyReady"], FORM_SECONDS, "two requests")
        self.api.call(first.address, "POST", "/high-availability/apply")
        self.wait_converged(FORM_SECONDS)
        wait_for(lambda: _voters(first) == 2, FORM_SECONDS, "all nodes vote")

    def stop(self) -> None:
        """End all nodes in an orderly way, those that stand by first."""
        serving = self.primary()
        running = {name: node for name, node in self.nodes.items() if node.running}
        standbys = [node for name, node in running.items() if name != serving]
        last = [node for name, node in running.items() if name == serving]
        for nodes in (standbys, last):
            for node in nodes:
                node.host.signal(node.pids()["node"], signal.SIGTERM)
            for node in nodes:
                node.wait_ended()

    def invite(self, node: HostedNode, primary: HostedNode) -> None:
        """Leave an invitation on *node*, as a join command of *primary* does."""
        path = "/high-availability/join-token"
        made = self.api.call(primary.address, "POST", path)
        pin = re.search("sha256//[A-Za-z0-9+/=]+", made["command"])
        assert pin is not None, made["command"]
        JoinInvitation(primary.address, PORT, pin[0], made["token"]).write(
            node.settings.folders
        )

    def view(self, node: HostedNode) -> dict[str, Any]:
        """The cluster as *node* shows it."""
        return dict(node.ask("/v1/ha/cluster"))

    def primary(self) -> str | None:
        """The host whose node says that it serves; None unless it is exactly one."""
        serving = [
            name
            for name, node in self.nodes.items()
            if node.running and _serves(node.try_ask("/v1/status"))
        ]
        return serving[0] if len(serving) == 1 else None

    def switch_to(self, name: str) -> None:
        """Let the node on the host called *name* serve; returns when all agree."""
        serving, wanted = self.wait_converged(), self.nodes[name].address
        if serving == name:
            return
        at, path = self.nodes[serving].address, "/high-availability/switchover"
        self.api.call(at, "POST", path, {"address": wanted})
        wait_for(lambda: self.primary() == name, CONVERGE_SECONDS, f"{name} serves")
        wait_for(lambda: self.accepts(wanted), CONVERGE_SECONDS, "its ports are open")
        self.wait_converged()

    def accepts(self, address: str) -> bool:
        """Whether a port for pages and API is open there."""
        try:
            with self.client.network():
                socket.create_connection((address, PORT), timeout=2).close()
        except OSError:
            return False
        return True

    def fault(self) -> str | None:
        """Why the cluster is not whole now; None when it is."""
        serving = self.primary()
        if serving is None:
            return "not exactly one node serves"
        for name, node in self.nodes.items():
            view = node.try_ask("/v1/ha/cluster")
            states = {n["address"]: n["state"] for n in view.get("nodes", ())}
            wanted = {
                each.address: "PRIMARY" if other == serving else "SECONDARY"
                for other, each in self.nodes.items()
            }
            if states != wanted:
                return f"{name} sees {states or 'nothing'}, while {serving} serves"
            if not view["failuresSurvived"]:
                # One that was emptied follows before it has its vote back.
                return f"{name} sees no majority without {serving}: a vote is missing"
        return None

    def wait_converged(self, seconds: float = CONVERGE_SECONDS) -> str:
        """Wait until all three agree on who serves and who follows; say who serves."""
        fault: list[str | None] = [None]

        def whole() -> bool:
            fault[0] = self.fault()
            return fault[0] is None

        try:
            wait_for(whole, seconds, "a whole cluster", every=0.5)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {fault[0]}") from None
        return wait_for(self.primary, 5, "a primary")

    def defender_papers(self, name: str, folder: Path) -> None:
        """Leave ca.pem and the certificate and key of a Defender in *folder*."""
        folder.mkdir(parents=True, exist_ok=True)
        make_key(folder / "key.pem")
        request = make_request(folder / "key.pem", name)
        signed = sign_request(
            self.certificates,
            request,
            usage=Usage.DEFENDER,
            common_name=name,
            names=[name],
        )
        (folder / "certificate.pem").write_bytes(signed)
        (folder / "ca.pem").write_bytes((self.certificates / "ca.pem").read_bytes())


def _serves(status: dict[str, Any]) -> bool:
    """Whether the node serves, its pages too: one port opens before the other."""
    return bool(status.get("serving")) and "management" in status["pids"]


def _voters(primary: HostedNode) -> int:
    """How many joined hosts were given a vote; the node API does not tell."""
    return primary.log.read_text().count("has caught up and votes")
