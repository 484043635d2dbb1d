"""Cuts a node off from the other nodes, where this machine lets us.

All of them talk over the loopback interface, where nobody's packets carry an address
of its own. So each node runs as a group of its own, and packets are dropped by the
group of the process that sends them.
"""

import os
import shutil
import subprocess
from contextlib import suppress

from demo.events import NODES
from twistlock_console.common.errors import ConsoleError, Refused

CHAIN = "TWISTLOCK-DEMO"
JUMP = ("OUTPUT", "-o", "lo", "-j", CHAIN)
FIRST_GROUP = 60_011
SECONDS = 5


class Network:
    """Drops packets between nodes; users and load balancer reach every node still."""

    def __init__(self) -> None:
        self._program = shutil.which("iptables") or shutil.which(
            "iptables", path="/usr/sbin:/sbin"
        )
        self._refusal = self._why_not()
        self.cut_off: set[str] = set()

    @property
    def groups(self) -> dict[str, int]:
        """The group that each node must run as; empty where nothing can be cut."""
        if self._refusal:
            return {}
        return {address: FIRST_GROUP + place for place, address in enumerate(NODES)}

    def cut(self, address: str) -> None:
        """Let no packet pass between *address* and the other nodes. Raises Refused."""
        if address in self.cut_off:
            raise Refused(f"{address} is cut off already.")
        self._apply(self.cut_off | {address})

    def heal(self, address: str) -> None:
        """Undo *cut*; raises Refused if *address* is not cut off."""
        if address not in self.cut_off:
            raise Refused(f"{address} is not cut off.")
        self._apply(self.cut_off - {address})

    def close(self) -> None:
        """Take all our rules away."""
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
        # Last, so that the whole cut happens at one moment.
        self._iptables("-I", *JUMP)
        self.cut_off = cut_off

    def _drop(self, group: int, target: str) -> None:
        owner = ["-m", "owner", "--gid-owner", str(group)]
        self._iptables("-A", CHAIN, "-d", target, *owner, "-j", "DROP")

    def _why_not(self) -> str:
        if os.geteuid() != 0:
            return "the demo must run as root for that"
        if self._program is None:
            return "there is no iptables"
        try:
            # As a group of a node, which shows that we may run one so, too.
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
                timeout=SECONDS,
                group=group,
            )
        except subprocess.CalledProcessError as error:
            raise ConsoleError(error.stderr.strip() or "it failed") from error
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise ConsoleError(str(error)) from error
