"""What a host's firewall does to packets, from and to other hosts."""

from collections.abc import Callable

INPUT, OUTPUT = "INPUT", "OUTPUT"
RESET = ("REJECT", "--reject-with", "tcp-reset")


class Firewall:
    """Rules of one host, set with iptables through *run*."""

    def __init__(self, run: Callable[..., str]) -> None:
        self._run = run

    def drop_from(self, address: str) -> None:
        """Let nothing in that *address* sends."""
        self.rule(INPUT, "-s", address, "-j", "DROP")

    def drop_to(self, address: str) -> None:
        """Let nothing out to *address*."""
        self.rule(OUTPUT, "-d", address, "-j", "DROP")

    def cut(self, address: str) -> None:
        """Drop both ways between this host and *address*."""
        self.drop_from(address)
        self.drop_to(address)

    def reset(self, address: str) -> None:
        """Answer TCP from *address* with a reset, and send it nothing."""
        self.rule(INPUT, "-p", "tcp", "-s", address, "-j", *RESET)
        self.rule(OUTPUT, "-p", "tcp", "-d", address, "-j", *RESET)

    def block_port(self, port: int) -> None:
        """Drop what goes to TCP *port*, here and on others, but not on loopback."""
        self.rule(INPUT, "!", "-i", "lo", *_to_port(port))
        self.rule(OUTPUT, "!", "-o", "lo", *_to_port(port))

    def lose(self, part: float) -> None:
        """Lose *part* (0 to 1) of what comes in, at random."""
        chance = ["statistic", "--mode", "random", "--probability", str(part)]
        self.rule(INPUT, "!", "-i", "lo", "-m", *chance, "-j", "DROP")

    def rule(self, chain: str, *rule: str) -> None:
        """Append a rule."""
        self._run("iptables", "-w", "-A", chain, *rule)

    def clear(self) -> None:
        """Forget all rules."""
        self._run("iptables", "-w", "-F")


def _to_port(port: int) -> list[str]:
    return ["-p", "tcp", "--dport", str(port), "-j", "DROP"]
