"""Inject faults into the demo: kill, freeze or cut off nodes, and bring them back."""

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from demo.cluster import Cluster, DemoNode
from demo.commands import Command, Verb
from demo.console_api import ConsoleApi
from demo.events import NODES
from demo.formation import API
from demo.writer import Writer
from twistlock_console.common.errors import ConsoleError, Refused

FAULT_VERBS = (Verb.KILL, Verb.FREEZE, Verb.CUT)
SWITCHOVER_TIMEOUT_S = 5.0
CHAIN = "TWISTLOCK-DEMO"
JUMP = ("OUTPUT", "-o", "lo", "-j", CHAIN)
FIRST_GROUP = 60_011
IPTABLES_TIMEOUT_S = 5


class Network:
    """Cuts nodes off from the others, if this machine permits it.

    All nodes use the loopback interface, where packets do not show which node sent
    them. So each node runs as a group of its own, and packets are dropped by the group
    of the sending process. Users and the load balancer reach every node.
    """

    def __init__(self) -> None:
        self._program = shutil.which("iptables") or shutil.which(
            "iptables", path="/usr/sbin:/sbin"
        )
        self._refusal = self._cut_refusal()
        self.cut_off: set[str] = set()

    @property
    def groups(self) -> dict[str, int]:
        """Return the group of each node by address; {} if nothing can be cut."""
        if self._refusal:
            return {}
        return {address: FIRST_GROUP + place for place, address in enumerate(NODES)}

    def cut(self, address: str) -> None:
        """Drop all packets between *address* and the other nodes; raises Refused."""
        if address in self.cut_off:
            raise Refused(f"{address} is cut off already.")
        self._apply(self.cut_off | {address})

    def heal(self, address: str) -> None:
        """Undo *cut*; raises Refused if *address* is not cut off."""
        if address not in self.cut_off:
            raise Refused(f"{address} is not cut off.")
        self._apply(self.cut_off - {address})

    def close(self) -> None:
        """Delete all our firewall rules."""
        if not self._refusal:
            for rule in (["-D", *JUMP], ["-F", CHAIN], ["-X", CHAIN]):
                with suppress(ConsoleError):
                    self._iptables(*rule)
        self.cut_off = set()

    def _apply(self, cut_off: set[str]) -> None:
        if self._refusal:
            raise Refused(f"Nothing can be cut here: {self._refusal}.")
        self.close()
        self._iptables("-N", CHAIN)
        for sender, group in self.groups.items():
            for target in set(NODES) - {sender}:
                if cut_off & {sender, target}:
                    self._drop(group, target)
        # Last, so that the whole cut takes effect at once.
        self._iptables("-I", *JUMP)
        self.cut_off = cut_off

    def _drop(self, group: int, target: str) -> None:
        owner = ["-m", "owner", "--gid-owner", str(group)]
        self._iptables("-A", CHAIN, "-d", target, *owner, "-j", "DROP")

    def _cut_refusal(self) -> str:
        if os.geteuid() != 0:
            return "the demo must run as root for that"
        if self._program is None:
            return "there is no iptables"
        try:
            # As the group of a node, which shows that we may run processes so.
            self._iptables("-n", "-L", "OUTPUT", group=FIRST_GROUP)
        except ConsoleError as error:
            return f"iptables may not be used ({error})"
        return ""

    def _iptables(self, *arguments: str, group: int | None = None) -> None:
        try:
            subprocess.run(
                [str(self._program), "-w", "2", *arguments],
                check=True,
                capture_output=True,
                text=True,
                timeout=IPTABLES_TIMEOUT_S,
                group=group,
            )
        except subprocess.CalledProcessError as error:
            raise ConsoleError(error.stderr.strip() or "it failed") from error
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise ConsoleError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Faults:
    """Executes commands on *cluster*; *writer* measures the outage for users."""

    cluster: Cluster
    network: Network
    api: ConsoleApi
    writer: Writer

    def execute(self, command: Command) -> str:
        """Execute *command*; return what was done, or raise ConsoleError."""
        # A switchover is measured from the last stored write: it starts with
        # preparations, during which the old primary goes on serving.
        if command.verb in FAULT_VERBS and command.address == self.writer.count().by:
            self.writer.expect_fault()
        try:
            if command.verb is Verb.SWITCHOVER:
                return self._switch_over(command.address)
            return self._run_verb(command.verb, self.cluster.nodes[command.address])
        except ConsoleError:
            self.writer.forget_fault()
            raise

    def _run_verb(self, verb: Verb, node: DemoNode) -> str:
        at = node.address
        doing: dict[Verb, tuple[Callable[[], None], str]] = {
            Verb.KILL: (node.kill, "is killed, with all its processes"),
            Verb.START: (node.start, "is starting"),
            Verb.FREEZE: (node.freeze, "is frozen"),
            Verb.THAW: (node.thaw, "goes on"),
            Verb.CUT: (
                lambda: self.network.cut(at),
                "is cut off from the other nodes; users still reach it",
            ),
            Verb.HEAL: (
                lambda: self.network.heal(at),
                "reaches the other nodes again",
            ),
        }
        act, done = doing[verb]
        act()
        return f"{at} {done}."

    def _switch_over(self, address: str) -> str:
        body = {"address": address} if address else {}
        self.api.post(f"{API}/switchover", body, seconds=SWITCHOVER_TIMEOUT_S)
        return f"The switchover to {address or 'the best standby'} has started."
