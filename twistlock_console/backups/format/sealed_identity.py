"""What only this Console has, encrypted so that it can lie beside the data.

The certificate authority with its key, which every Defender trusts, and the
configuration. Without them a restored database is a Console that no Defender knows.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from twistlock_console.common.atomic_files import read_secret
from twistlock_console.common.errors import ConsoleError, IdentityError, Refused
from twistlock_console.common.opaque_string import opaque_string
from twistlock_console.pki.identity_files import AUTHORITY, AUTHORITY_KEY
from twistlock_console.settings import Folders

PURPOSE = b"twistlock backup identity 1"
CONFIG = "twistlock.cfg"
SHORTEST = 12
LARGEST_KEY_FILE = 64 * 1024
#: Costs 32 MB and some tenths of a second, once a backup: guessing costs the same.
COST = 2**15
_FILES = TypeAdapter(dict[str, str])


class Sealed(BaseModel):
    """The encrypted files, and what is needed besides the passphrase to read them."""

    model_config = ConfigDict(extra="forbid")

    cost: Annotated[int, Field(ge=2**14, le=2**18)]
    salt: str
    nonce: str
    data: str


def collect(folders: Folders) -> dict[str, str]:
    """Read this node's identity; raises IdentityError."""
    found = {
        AUTHORITY: (folders.certificates / AUTHORITY).read_text(),
        AUTHORITY_KEY: read_secret(folders.certificates / AUTHORITY_KEY).decode(),
    }
    config = folders.scripts / CONFIG
    if config.exists():
        found[CONFIG] = config.read_text(encoding="utf-8")
    return found


def seal(files: Mapping[str, str], passphrase: bytes) -> bytes:
    """Encrypt *files* for who knows *passphrase*."""
    salt, nonce = os.urandom(16), os.urandom(12)
    plain = _FILES.dump_json(dict(files))
    data = AESGCM(_key(passphrase, salt, COST)).encrypt(nonce, plain, PURPOSE)
    salted, once, text = (b64encode(part).decode() for part in (salt, nonce, data))
    sealed = Sealed(cost=COST, salt=salted, nonce=once, data=text)
    return sealed.model_dump_json().encode()


def unseal(data: bytes, passphrase: bytes) -> dict[str, str]:
    """Decrypt what *seal* made; raises Refused if it cannot be.

    A passphrase is tried as typed, and in the form that `check_passphrase` gives.
    """
    forms = dict.fromkeys((passphrase, _opaque(passphrase)))
    for form in forms:
        with suppress(InvalidTag, ValueError):
            return _unseal(data, form)
    raise Refused(
        "the identity in the backup cannot be decrypted; give the passphrase or the "
        "key file that it was made with"
    )


def _unseal(data: bytes, passphrase: bytes) -> dict[str, str]:
    sealed = Sealed.model_validate_json(data)
    salt, nonce, text = map(b64decode, (sealed.salt, sealed.nonce, sealed.data))
    plain = AESGCM(_key(passphrase, salt, sealed.cost)).decrypt(nonce, text, PURPOSE)
    return _FILES.validate_json(plain)


def _opaque(passphrase: bytes) -> bytes:
    try:
        return opaque_string(passphrase.decode()).encode()
    except UnicodeDecodeError:
        return passphrase  # of a key file


def check_passphrase(text: str) -> bytes:
    """Give *text* as a passphrase; raises Refused if it is too short."""
    if len(text) < SHORTEST:
        raise Refused(f"give a passphrase of at least {SHORTEST} characters")
    return opaque_string(text).encode()


def read_key_file(path: Path) -> bytes:
    """Give what the key file at *path* holds; raises ConsoleError."""
    try:
        data = read_secret(path)
    except IdentityError as error:
        raise ConsoleError(f"the key file for backups cannot be used: {error}") from (
            error
        )
    if not SHORTEST <= len(data.strip()) <= LARGEST_KEY_FILE:
        raise ConsoleError(
            f"the key file {path} must hold {SHORTEST} to {LARGEST_KEY_FILE} bytes; "
            f"make one with: openssl rand -base64 32 >{path}"
        )
    return data.strip()


def _key(passphrase: bytes, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(passphrase)
