"""Which of this node's certificates end soon, as sentences for people."""

from datetime import UTC, datetime
from pathlib import Path

from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.identity_files import AUTHORITY, NODE, SOON, load_certificate

REMEDIES = {
    NODE: (
        "The certificate of this node",
        "It should have been renewed by itself; the node's log says what hinders it",
    ),
    AUTHORITY: (
        "The Console's certificate authority",
        "Install a new Console before then, restore a backup there, and deploy the "
        "Defenders anew",
    ),
}


def endings(folder: Path, now: datetime | None = None) -> list[str]:
    """One sentence for each certificate in *folder* that ends soon, or has ended."""
    now = now or datetime.now(UTC)
    found = []
    for file, (what, remedy) in REMEDIES.items():
        try:
            ends = load_certificate(folder / file).not_valid_after_utc
        except IdentityError as error:
            found.append(f"{error}.")
            continue
        if ends - now < SOON:
            verb = "ends" if ends > now else "ended"
            found.append(f"{what} {verb} on {ends:%Y-%m-%d}. {remedy}.")
    return found
