"""Deploy Defenders: deploy tokens, the install command, its script and package.

With a deploy token any number of hosts may enrol a Defender for a day, because one
command runs on many hosts. Only hashes of tokens are stored. An account that may deploy
can revoke a token, and sees how many hosts have used it. A token enrols new names only
(`enrolled`), and expires with the account that created it. No backup holds tokens.
"""

import hashlib
import io
import os
import re
import secrets
import shlex
import tarfile
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.database import Database

from twistlock_console.accounts import users
from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.pki.certificates import public_key_pin
from twistlock_console.pki.identity_files import NODE, names_in, read_certificate
from twistlock_console.revocation import store
from twistlock_console.revocation.store import RevocationKind
from twistlock_console.settings import Settings

COLLECTION = "deploy_tokens"
TOKEN_HOURS = 24
TOKEN_SHAPE = re.compile(r"deploy-[A-Za-z0-9_-]{43}")
ID_DIGITS = 12
COPY_AGAIN_HINT = "copy the command again from Manage > Defenders > Deploy"
INDEXES = [IndexModel([("expires", ASCENDING)], expireAfterSeconds=86_400)]
LOCAL_NAMES = {"127.0.0.1", "localhost"}
SCRIPT = "/api/v1/scripts/defender.sh"
ADDRESS = re.compile(r"[A-Za-z0-9.:-]{1,253}")
RELEASE = "twistlock_console.tar.gz"
PACKAGE = "twistlock_defender.tar.gz"
#: The agent and its dependencies, direct and indirect; packaging/defender lists them.
NEEDED_PROJECTS = {
    *("twistlock_defender", "websockets", "watchdog"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_extensions"),
    *("typing_inspection", "cryptography", "cffi", "pycparser"),
}
#: Held during the build: a whole fleet may request the package at once.
_build_lock = threading.Lock()
Documents = Database[dict[str, object]]


@dataclass(frozen=True, slots=True)
class DeployToken:
    """A token, identified by the first digits of its hash; *used* counts enrolments."""

    id: str
    expires: datetime
    used: int


@dataclass(frozen=True, slots=True)
class _StoredToken:
    """A stored token: its hash, expiry, number of uses, and the account *by*."""

    key: Annotated[str, Field(alias="_id")]
    expires: datetime
    used: int = 0
    by: str = ""


_token: TypeAdapter[_StoredToken] = TypeAdapter(_StoredToken)


def create_token(database: Documents, by: str = "") -> tuple[str, datetime]:
    """Create a token for the account *by*, "" for root; return it and its expiry."""
    token = f"deploy-{secrets.token_urlsafe(32)}"
    expires = datetime.now(UTC) + timedelta(hours=TOKEN_HOURS)
    made = {"_id": _hash(token), "expires": expires, "used": 0, "by": by}
    database[COLLECTION].insert_one(made)
    return token, expires


def check_token(database: Documents, token: str, *, use: bool = False) -> None:
    """Raise Refused unless *token* is valid; count a use if *use* is true."""
    if not TOKEN_SHAPE.fullmatch(token):
        raise Refused(f"The deploy token is damaged; {COPY_AGAIN_HINT}, as a whole.")
    key = _hash(token)
    gone = Refused(
        f"The deploy token was revoked, is not known, or has ended; {COPY_AGAIN_HINT}."
    )
    good = {"_id": key, "expires": {"$gt": datetime.now(UTC)}}
    found = database[COLLECTION].find_one(good)
    if found is None or store.is_revoked(database, RevocationKind.DEPLOY_TOKEN, key):
        raise gone
    stored = _token.validate_python(found)
    made = stored.expires - timedelta(hours=TOKEN_HOURS)
    if not users.may_owner_still_change(
        database, stored.by, Areas.DEFENDER_SCRIPTS, made
    ):
        raise gone
    if use:
        database[COLLECTION].update_one(good, {"$inc": {"used": 1}})


def list_tokens(database: Documents) -> list[DeployToken]:
    """Return the valid tokens, latest first."""
    alive = {"expires": {"$gt": datetime.now(UTC)}}
    found = list(database[COLLECTION].find(alive).sort("expires", DESCENDING).limit(50))
    revoked = store.read_revoked(database, RevocationKind.DEPLOY_TOKEN)
    return [
        DeployToken(each.key[:ID_DIGITS], each.expires, each.used)
        for each in map(_token.validate_python, found)
        if each.key not in revoked
    ]


def revoke_token(database: Documents, token_id: str) -> None:
    """Revoke the token. Raises Refused if there is none with this id."""
    found = None
    if re.fullmatch(f"[0-9a-f]{{{ID_DIGITS}}}", token_id):
        begins = {"_id": {"$regex": f"^{token_id}"}}
        found = database[COLLECTION].find_one(begins)
    token = _token.validate_python(found) if found else None
    if token is None or store.is_revoked(
        database, RevocationKind.DEPLOY_TOKEN, token.key
    ):
        raise Refused(f"there is no deploy token {token_id[:100]!r}")
    store.revoke(
        database, RevocationKind.DEPLOY_TOKEN, token.key, expires=token.expires
    )
    # For an earlier release, which is installed again if an upgrade fails.
    now = {"$set": {"expires": datetime.now(UTC)}}
    database[COLLECTION].update_one({"_id": token.key}, now)


def token_id(database: Documents, token: str) -> str | None:
    """Return the token's id in pages and history; None if the token is unknown."""
    key = _hash(token)
    return key[:ID_DIGITS] if database[COLLECTION].find_one({"_id": key}, {}) else None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def console_names(settings: Settings) -> list[str]:
    """Return the names by which a host may reach the Console, shared ones first."""
    certificate = read_certificate(settings.folders.certificates / NODE)
    shared = list(settings.console_san)
    others = sorted(names_in(certificate) - LOCAL_NAMES - set(shared))
    return [*shared, *others] or [settings.node_address]


def addresses_for(database: Documents, settings: Settings, chosen: str) -> list[str]:
    """Return the addresses for a Defender that is deployed with the name *chosen*.

    A name of the load balancer reaches the serving node; an address reaches one node,
    so the addresses of the other members are added.
    """
    if chosen in settings.console_san:
        return [chosen]
    hosts = database.client.admin.command("hello").get("hosts", [])
    return list(dict.fromkeys([chosen, *(host.rpartition(":")[0] for host in hosts)]))


def own_pin(settings: Settings) -> str:
    """Return the pin of this node's key, as ``curl --pinnedpubkey`` takes it."""
    return public_key_pin((settings.folders.certificates / NODE).read_bytes())


def deploy_command(settings: Settings, name: str, token: str) -> str:
    """Return the command to run on a host. Raises Refused if *name* is not ours."""
    if name not in console_names(settings):
        raise Refused(f"{name!r} is not a name of this Console; choose one of the list")
    address = f"https://{_bracketed(name)}:{settings.management_port_https}"
    return (
        f"curl -fsSL --noproxy '*' --insecure --pinnedpubkey '{own_pin(settings)}' "
        f"-H 'authorization: Bearer {token}' "
        f"'{address}{SCRIPT}?consoleaddr={name}' | sudo bash"
    )


def defender_script(settings: Settings, name: str, token: str, version: str) -> str:
    """Return the install script with the values of this node at its top."""
    if not ADDRESS.fullmatch(name):
        raise Refused("consoleaddr: give a name or an address of the Console")
    values = {
        "CONSOLE": f"{_bracketed(name)}:{settings.management_port_https}",
        "CONSOLE_NAME": name,
        "PIN": own_pin(settings),
        "TOKEN": token,
        "VERSION": version,
    }
    head = [f"{key}={shlex.quote(value)}" for key, value in values.items()]
    body = resources.files("twistlock_console.web") / "scripts" / "defender.sh"
    start = ["#!/usr/bin/env bash", "set -euo pipefail", "umask 022", *head]
    return "\n".join([*start, body.read_text("utf-8")])


def refusal_script(sentence: str) -> str:
    """Return a bash script that fails with *sentence*: the command pipes it to bash."""
    said = shlex.quote(f"Error: {sentence}")
    return f"#!/usr/bin/env bash\nprintf '%s\\n' {said} >&2\nexit 1\n"


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def defender_package(images: Path) -> Path:
    """Return the package; rebuild it if the release is newer. Raises Refused."""
    release, package = images / RELEASE, images / PACKAGE
    if not release.exists():
        raise Refused(
            "The Console was not installed by twistlock.sh, so it has no release to "
            f"take the Defender from; put the release tarball at {release}."
        )
    with _build_lock:
        if not package.exists() or package.stat().st_mtime < release.stat().st_mtime:
            _build_package(release, package)
    return package


def _build_package(release: Path, package: Path) -> None:
    draft = package.with_suffix(f".{os.getpid()}")
    try:
        with tarfile.open(release) as whole, tarfile.open(draft, "w") as part:
            _copy_needed(whole, part)
        draft.replace(package)
    finally:
        draft.unlink(missing_ok=True)


def _copy_needed(whole: tarfile.TarFile, part: tarfile.TarFile) -> None:
    for member in whole:
        name = Path(member.name).name
        if not member.isfile() or not _is_needed(name):
            continue
        content = whole.extractfile(member)
        kept = tarfile.TarInfo(name)
        kept.size, kept.mode = member.size, 0o644
        part.addfile(kept, content or io.BytesIO())


def _is_needed(name: str) -> bool:
    project = name.split("-")[0].lower()
    return name.endswith(".whl") and re.sub(r"[-.]", "_", project) in NEEDED_PROJECTS
