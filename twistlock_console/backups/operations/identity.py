"""The identity of a Console: seal it into a backup, unseal it, and install it.

It is the certificate authority with its key, which every Defender trusts, and the
configuration. Without it no Defender trusts a Console that was restored.
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

from twistlock_console.backups.format.archive import open_archive
from twistlock_console.backups.format.manifest import IDENTITY
from twistlock_console.common.atomic_files import (
    read_secret,
    write_secret,
    write_whole,
)
from twistlock_console.common.errors import ConsoleError, IdentityError, Refused
from twistlock_console.common.opaque_string import opaque_string
from twistlock_console.database.known_members import forget_known_members
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    AUTHORITY_KEY,
    CLUSTER_FILES,
    NODE,
    NODE_BUNDLE,
)
from twistlock_console.settings import Folders

ASSOCIATED_DATA = b"twistlock backup identity 1"
CONFIG = "twistlock.cfg"
#: Stored beside the current file: addresses and folders are those of the lost host.
CONFIG_FROM_BACKUP = f"{CONFIG}.from-backup"
MIN_PASSPHRASE_LENGTH = 12
MAX_KEY_FILE_BYTES = 64 * 1024
#: scrypt's N: 32 MB and some tenths of a second for each backup, and for each guess.
SCRYPT_COST = 2**15
_FILES = TypeAdapter(dict[str, str])


class SealedFiles(BaseModel):
    """The encrypted files, and the parameters that decrypt them with the passphrase."""

    model_config = ConfigDict(extra="forbid")

    cost: Annotated[int, Field(ge=2**14, le=2**18)]
    salt: str
    nonce: str
    data: str


def collect(folders: Folders) -> dict[str, str]:
    """Return the files of this node's identity, by name; raises IdentityError."""
    found = {
        AUTHORITY: (folders.certificates / AUTHORITY).read_text(),
        AUTHORITY_KEY: read_secret(folders.certificates / AUTHORITY_KEY).decode(),
    }
    config = folders.scripts / CONFIG
    if config.exists():
        found[CONFIG] = config.read_text(encoding="utf-8")
    return found


def seal(files: Mapping[str, str], passphrase: bytes) -> bytes:
    """Return *files*, encrypted with *passphrase* (AES-GCM, key by scrypt)."""
    salt, nonce = os.urandom(16), os.urandom(12)
    plain = _FILES.dump_json(dict(files))
    data = AESGCM(_key(passphrase, salt, SCRYPT_COST)).encrypt(
        nonce, plain, ASSOCIATED_DATA
    )
    salted, once, text = (b64encode(part).decode() for part in (salt, nonce, data))
    sealed = SealedFiles(cost=SCRYPT_COST, salt=salted, nonce=once, data=text)
    return sealed.model_dump_json().encode()


def unseal(data: bytes, passphrase: bytes) -> dict[str, str]:
    """Decrypt the result of *seal*; raises Refused if the passphrase is wrong.

    A passphrase is tried as typed, and in the form that `check_passphrase` returns.
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
    sealed = SealedFiles.model_validate_json(data)
    salt, nonce, text = map(b64decode, (sealed.salt, sealed.nonce, sealed.data))
    plain = AESGCM(_key(passphrase, salt, sealed.cost)).decrypt(
        nonce, text, ASSOCIATED_DATA
    )
    return _FILES.validate_json(plain)


def _opaque(passphrase: bytes) -> bytes:
    try:
        return opaque_string(passphrase.decode()).encode()
    except UnicodeDecodeError:
        return passphrase  # of a key file


def check_passphrase(text: str) -> bytes:
    """Return *text* as a passphrase; raises Refused if it is too short."""
    if len(text) < MIN_PASSPHRASE_LENGTH:
        raise Refused(
            f"give a passphrase of at least {MIN_PASSPHRASE_LENGTH} characters"
        )
    return opaque_string(text).encode()


def read_key_file(path: Path) -> bytes:
    """Return the content of the key file at *path*; raises ConsoleError."""
    try:
        data = read_secret(path)
    except IdentityError as error:
        raise ConsoleError(f"the key file for backups cannot be used: {error}") from (
            error
        )
    if not MIN_PASSPHRASE_LENGTH <= len(data.strip()) <= MAX_KEY_FILE_BYTES:
        raise ConsoleError(
            f"the key file {path} must hold {MIN_PASSPHRASE_LENGTH} to "
            f"{MAX_KEY_FILE_BYTES} bytes; "
            f"make one with: openssl rand -base64 32 >{path}"
        )
    return data.strip()


def _key(passphrase: bytes, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(passphrase)


def read_sealed_identity(path: Path) -> bytes:
    """Return the encrypted identity in the backup at *path*; raises Refused."""
    with open_archive(path) as reader:
        for entry in reader.entries():
            if entry.name == IDENTITY:
                return entry.read()
    raise Refused(f"{path.name} holds no keys")


def install_identity(folders: Folders, files: dict[str, str]) -> None:
    """Install the authority in *files*, and remove certificates of the previous one.

    The node's next start issues its certificate again; its key stays. Idempotent, also
    after an interruption. Raises IdentityError.
    """
    certificates = folders.certificates
    forget_known_members(folders)
    for name in (NODE, NODE_BUNDLE, *CLUSTER_FILES):
        (certificates / name).unlink(missing_ok=True)
    write_secret(certificates / AUTHORITY_KEY, files[AUTHORITY_KEY].encode())
    write_whole(certificates / AUTHORITY, files[AUTHORITY].encode(), mode=0o644)
    if CONFIG in files:
        write_secret(folders.scripts / CONFIG_FROM_BACKUP, files[CONFIG].encode())
