"""Build the join command, and the script that it runs with this node's values."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from twistlock_console.pki.certificates import public_key_pin
from twistlock_console.pki.identity_files import NODE
from twistlock_console.settings import Settings
from twistlock_console.settings.config_file import quote

SCRIPT_PARTS = ("checks.sh", "console.sh")
#: The modules that check the folders of the settings; they need no others.
CHECKER_MODULES = (
    "__init__",
    "account",
    "check",
    "inspection",
    "probe",
    "rules",
    "system",
)
CHECKER_PACKAGE = "twistlock_console.host_folders"
#: The settings that the check of the folders reads.
FOLDER_KEYS = (
    "DATA_FOLDER",
    "DATA_RECOVERY_ENABLED",
    "DATA_RECOVERY_KEY_FILE",
    "DATA_RECOVERY_VOLUME",
    "MONGOD_BINARY",
)
HEREDOC_END = "END_OF_MODULE"
#: Settings that differ by host and are not copied from the primary; None leaves a key
#: out.
OWN_SETTINGS = {
    "NODE_ADDRESS": None,
    "CONSOLE_CN": "",
    "HIGH_AVAILABILITY_ENABLED": "true",
    "HIGH_AVAILABILITY_STATE": "SECONDARY",
}


def own_pin(settings: Settings) -> str:
    """Return the pin of this Console's key, as `curl --pinnedpubkey` accepts it."""
    return public_key_pin((settings.folders.certificates / NODE).read_bytes())


def join_command(settings: Settings, token: str) -> str:
    """Return the command to run, as root, on the host that is to join."""
    console = f"https://{settings.node_address}:{settings.management_port_https}"
    return (
        f"curl -fsSL --noproxy '*' --insecure --pinnedpubkey '{own_pin(settings)}' "
        f"-H 'authorization: Bearer {token}' "
        f"{console}/api/v1/scripts/console.sh | sudo bash"
    )


@dataclass(frozen=True, slots=True)
class Release:
    """The tarball to install: its version and SHA-256."""

    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Console:
    """The primary, for a host that joins; *token* is "" for an account."""

    address: str
    port: int
    pin: str
    token: str


def join_script(
    console: Console, release: Release, settings: Mapping[str, str], now: int
) -> str:
    """Return the script for bash as root; *now* is this host's Unix time.

    *settings* are the primary's own, as texts by key.
    """
    values = {
        "PRIMARY": console.address,
        "PORT": str(console.port),
        "PIN": console.pin,
        "TOKEN": console.token,
        "VERSION": release.version,
        "SHA256": release.sha256,
        "NOW": str(now),
        "DATA_FOLDER": settings["DATA_FOLDER"],
        "PORTS": " ".join(_ports(settings)),
        "SETTINGS": "\n".join(_setting_lines(settings)),
        "FOLDERS": "\n".join(f"{key}={settings[key]}" for key in FOLDER_KEYS),
    }
    head = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    parts = [resources.files(__package__) / "scripts" / name for name in SCRIPT_PARTS]
    texts = [part.read_text("utf-8") for part in parts]
    start = ["#!/usr/bin/env bash", "set -euo pipefail", "umask 022", *head]
    return "\n".join([*start, _unpack_checker(), *texts])


def _unpack_checker() -> str:
    """Return a shell function that writes the modules of the check to a folder."""
    lines = ["unpack_checker() { # FOLDER"]
    folder = '"$1"/' + CHECKER_PACKAGE.replace(".", "/")
    lines += [
        f"mkdir -p {folder}",
        f': >"$1"/{CHECKER_PACKAGE.split(".")[0]}/__init__.py',
    ]
    for name in CHECKER_MODULES:
        text = (resources.files(CHECKER_PACKAGE) / f"{name}.py").read_text("utf-8")
        lines += [
            f"cat >{folder}/{name}.py <<'{HEREDOC_END}'",
            text.rstrip("\n"),
            HEREDOC_END,
        ]
    return "\n".join([*lines, "}", ""])


def refusal_script(sentence: str) -> str:
    """Return a script that only prints *sentence* as an error, and fails.

    The join command passes the response to bash; with an error status it would show
    only the number.
    """
    said = shlex.quote(f"Error: {sentence}")
    return f"#!/usr/bin/env bash\nprintf '%s\\n' {said} >&2\nexit 1\n"


def _ports(settings: Mapping[str, str]) -> list[str]:
    keys = [
        "DATABASE_PORT",
        "MANAGEMENT_PORT_HTTPS",
        "MANAGEMENT_PORT_UI",
        "COMMUNICATION_PORT",
        "HIGH_AVAILABILITY_PORT",
    ]
    return [settings[key] for key in keys if settings[key]]


def _setting_lines(settings: Mapping[str, str]) -> list[str]:
    """Return the settings of the joining node, as lines of twistlock.cfg."""
    joined = {**settings, **OWN_SETTINGS}
    return [
        f"{key}={quote(value)}" for key, value in joined.items() if value is not None
    ]
