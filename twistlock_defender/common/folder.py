"""What is in the Defender's folder, and its settings."""

import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from twistlock_defender.common.errors import FolderError

FOLDER = Path("/var/lib/twistlock-defender")
ENROL = "enrol it with the command of Manage > Defenders > Deploy"


@dataclass(frozen=True, slots=True)
class DefenderSettings:
    """settings.json: our name, where Consoles are (name:port), the outbox's limit."""

    defender: Annotated[str, Field(min_length=1, max_length=255)]
    addresses: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]
    outbox_mb: Annotated[int, Field(alias="outboxMB", ge=1, le=65_536)] = 256


_settings: TypeAdapter[DefenderSettings] = TypeAdapter(DefenderSettings)


@dataclass(frozen=True, slots=True)
class Folder:
    """The files below *path*."""

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def settings(self) -> DefenderSettings:
        """Read settings.json. Raises FolderError."""
        path = self / "settings.json"
        try:
            return _settings.validate_json(path.read_bytes())
        except OSError as error:
            raise FolderError(f"{path}: {error.strerror}; {ENROL}") from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(step) for step in first["loc"])
            raise FolderError(f"{path}: {place}: {first['msg']}; mend it") from None

    def write_settings(self, settings: DefenderSettings) -> None:
        """Write settings.json. Raises OSError."""
        text = _settings.dump_json(settings, by_alias=True, indent=2)
        self.write("settings.json", text + b"\n")

    def write(self, name: str, data: bytes) -> None:
        """Put *data* at *name*, whole or not at all, for us alone. Raises OSError."""
        descriptor, draft = tempfile.mkstemp(prefix=f".{name}.", dir=self.path)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            Path(draft).replace(self / name)
        except BaseException:
            Path(draft).unlink()
            raise

    def tls(self) -> ssl.SSLContext:
        """The context for mutual TLS 1.3 with the Console. Raises FolderError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(self / "ca.pem")
            context.load_cert_chain(self / "certificate.pem", self / "key.pem")
        except (OSError, ssl.SSLError) as error:
            raise FolderError(
                f"certificate, key and authority in {self.path} cannot be used "
                f"({error.strerror or error}); {ENROL}"
            ) from error
        return context
