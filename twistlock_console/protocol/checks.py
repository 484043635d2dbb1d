"""List the compliance checks of hosts, whose ids both sides share."""

from collections.abc import Mapping
from types import MappingProxyType

CHECKS: Mapping[str, str] = MappingProxyType(
    {
        "ssh-root-login": "SSH lets root not log in",
        "ssh-empty-passwords": "SSH accepts no empty passwords",
        "ssh-tries": "SSH allows at most 4 tries to log in",
        "ssh-settings-rights": "Only root reads and writes the SSH server's settings",
        "passwd-rights": "Only root writes the lists of accounts and groups",
        "shadow-rights": "No other account reads the passwords' hashes",
        "empty-passwords": "No account is without a password",
        "other-roots": "Only root has the user id 0",
        "writable-files": (
            "Nothing can be written by everybody but folders with the sticky bit"
        ),
        "cron-rights": "Only root writes what cron runs",
        "docker-socket": "Only root and its group reach Docker's socket",
        "docker-settings-rights": "Only root writes Docker's settings",
        "docker-network": "Docker demands certificates on the network",
        "docker-registries": "Docker trusts no registry without TLS",
        "address-randomization": "Programs are loaded at random addresses",
        "dumps-of-setuid-programs": "Programs that ran as root leave no memory dumps",
        "redirects": "The host follows no redirects of its routes",
    }
)
"""Title of each check, by its id."""
