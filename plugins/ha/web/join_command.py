"""The one command that makes a host ask to join."""

from twistlock_console.pki.certificates import public_key_pin
from twistlock_console.pki.identity_files import NODE
from twistlock_console.settings import Settings


def own_pin(settings: Settings) -> str:
    """The pin of this Console's key, as ``curl --pinnedpubkey`` takes it."""
    return public_key_pin((settings.folders.certificates / NODE).read_bytes())


def join_command(settings: Settings, token: str) -> str:
    """The command to run, as root, on the host that is to join."""
    console = f"https://{settings.node_address}:{settings.management_port_https}"
    return (
        f"curl -fsSL --noproxy '*' --insecure --pinnedpubkey '{own_pin(settings)}' "
        f"-H 'authorization: Bearer {token}' "
        f"{console}/api/v1/scripts/console.sh | sudo bash"
    )
