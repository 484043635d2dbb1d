"""Define, read and store the settings "alerts" and "logging".

API and database use the same form. A secret is stored and returned encrypted with a key
that only the nodes have, and the API returns the address of the webhook without its
path. A client may send back what it got.
"""

import base64
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from cryptography.fernet import Fernet, InvalidToken
from pydantic import (
    Field,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic.alias_generators import to_snake

from twistlock_console.accounts.sessions import derive_key
from twistlock_console.alerts.kinds import AlertKind, alert_kinds
from twistlock_console.common.errors import Refused
from twistlock_console.common.models import Body
from twistlock_console.common.redaction import is_redacted
from twistlock_console.database.client import Db

SETTINGS = "settings"
MIN_SECRET_LENGTH = 16
#: Validation context of stored settings, which were checked when they were sent.
STORED = "stored"


class Secret(Body):
    """A secret: sent as `plain`, returned and stored as `encrypted`."""

    plain: str = Field(default="", max_length=1024)
    encrypted: str = Field(default="", max_length=4096)


class Webhook(Body):
    """A URL that alerts are posted to, signed with the secret."""

    enabled: bool = False
    url: str = Field(default="", max_length=2048, validate_default=True)
    secret: Secret = Field(default=Secret(), validate_default=True)

    @field_validator("url")
    @classmethod
    def _is_complete(cls, url: str, info: ValidationInfo) -> str:
        wanted = info.data.get("enabled") or url
        if wanted and not (is_redacted(url) or _is_web_address(url)):
            raise ValueError("write a full address, such as https://host/path")
        return url

    @field_validator("secret")
    @classmethod
    def _is_secret(cls, secret: Secret, info: ValidationInfo) -> Secret:
        if not info.data.get("enabled") and not info.data.get("url"):
            return secret
        if secret.plain and len(secret.plain) < MIN_SECRET_LENGTH:
            raise ValueError(f"write at least {MIN_SECRET_LENGTH} characters")
        if not (secret.plain or secret.encrypted):
            raise ValueError("give one; alerts are signed with it")
        return secret


class AlertSettingsBase(Body):
    """The settings of alerts: the webhook, and the switch and threshold of each kind.

    The switches in `triggers` and the thresholds come from the kinds of alerts.
    """

    webhook: Webhook = Webhook()

    def is_enabled(self, kind: AlertKind) -> bool:
        """Return whether alerts of *kind* are sent."""
        return bool(self.switches()[kind.name])

    def switches(self) -> dict[str, bool]:
        """Return the switch of each kind, by the kind's name."""
        found: dict[str, bool] = self.model_dump(by_alias=True)["triggers"]
        return found

    def threshold(self, kind: AlertKind) -> int:
        """Return the threshold of *kind*, which must have one."""
        if kind.threshold is None:
            raise ValueError(f"{kind.name} has no threshold")
        return int(self.model_dump(by_alias=True)[kind.threshold.name])


def _create_model(kinds: Sequence[AlertKind]) -> type[AlertSettingsBase]:
    """Create the model of settings with switch and threshold of each of *kinds*."""
    switches: dict[str, Any] = {to_snake(kind.name): (bool, True) for kind in kinds}
    triggers = create_model("Triggers", __base__=Body, **switches)
    triggers.__doc__ = "The switch of each kind of alert."
    thresholds: dict[str, Any] = {
        to_snake(t.name): (int, Field(default=t.default, ge=t.minimum, le=t.maximum))
        for kind in kinds
        if (t := kind.threshold)
    }
    made = create_model(
        "AlertSettings",
        __base__=AlertSettingsBase,
        triggers=(triggers, triggers()),
        **thresholds,
    )
    made.__doc__ = (
        "The settings of alerts: webhook, switches, and how long a problem must last."
    )
    return made


if TYPE_CHECKING:
    AlertSettings = AlertSettingsBase
else:
    AlertSettings = _create_model(alert_kinds())


class Syslog(Body):
    """A syslog server: `udp://host:514`, `tcp://host:514`, `unix:///dev/log`."""

    enabled: bool = False
    addr: str = Field(default="unix:///dev/log", max_length=300)
    format: Literal["rfc5424", "rfc3164"] = "rfc5424"

    @field_validator("addr")
    @classmethod
    def _known(cls, addr: str, info: ValidationInfo) -> str:
        # A stored address that an earlier release accepted must not prevent reading the
        # settings: alerts and the page that can correct it need them.
        if info.context != STORED:
            _check_syslog_address(addr)
        return addr


class LoggingSettings(Body):
    """The settings of logging: syslog for alerts, and the switch of metrics."""

    syslog: Syslog = Syslog()
    enable_metrics_collection: bool = False


S = TypeVar("S", AlertSettings, LoggingSettings)
_NAMES: dict[type[Body], str] = {AlertSettings: "alerts", LoggingSettings: "logging"}


def read_settings(database: Db, kind: type[S]) -> S:
    """Read the settings in force."""
    found = database[SETTINGS].find_one({"_id": _NAMES[kind]}, {"_id": False}) or {}
    return kind.model_validate(_drop_unknown_kinds(found), context=STORED)


def _drop_unknown_kinds(found: dict[str, Any]) -> dict[str, Any]:
    """Drop switches and thresholds of plugins that are not installed."""
    if "triggers" not in found:
        return found
    kinds = alert_kinds()
    known = {kind.name for kind in kinds}
    thresholds = {kind.threshold.name for kind in kinds if kind.threshold}
    triggers = {name: on for name, on in found["triggers"].items() if name in known}
    others = {n: v for n, v in found.items() if n == "webhook" or n in thresholds}
    return {**others, "triggers": triggers}


def write_settings(database: Db, new: S) -> None:
    """Replace the stored settings by *new*."""
    kept = new.model_dump(by_alias=True)
    database[SETTINGS].replace_one({"_id": _NAMES[type(new)]}, kept, upsert=True)


class SecretCipher:
    """Encrypts secrets with a key that is derived from the cluster's session secret."""

    def __init__(self, session_secret: bytes) -> None:
        key = derive_key(session_secret, "secrets in settings")
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def encrypt_secret(self, new: AlertSettings) -> AlertSettings:
        """Return *new* with its secret encrypted.

        Raises:
            Refused: the secret is encrypted already, but not by this Console.

        """
        secret = new.webhook.secret
        if secret.plain:
            sealed = self._fernet.encrypt(secret.plain.encode()).decode()
        else:
            sealed = secret.encrypted
            if sealed:
                self.decrypt(sealed)
        hook = new.webhook.model_copy(update={"secret": Secret(encrypted=sealed)})
        return new.model_copy(update={"webhook": hook})

    def decrypt(self, sealed: str) -> bytes:
        """Return the secret in *sealed*.

        Raises:
            Refused: this Console did not encrypt it.

        """
        try:
            return self._fernet.decrypt(sealed.encode())
        except InvalidToken as error:
            raise Refused(
                "webhook.secret.encrypted: this Console did not write it; send the "
                "secret as plain"
            ) from error


def _check_syslog_address(addr: str) -> None:
    kinds = r"(udp|tcp)://[^/\s:@?#[\]]+:[0-9]{1,5}|unix:///\S+"
    if not (addr.isprintable() and re.fullmatch(kinds, addr)):
        raise ValueError(
            "write udp://host:port, tcp://host:port or unix:///path/of/socket"
        )
    if addr.startswith("unix:"):
        return
    if not 1 <= int(addr.rpartition(":")[2]) < 2**16:
        raise ValueError("a port is a number from 1 to 65535")
    try:
        (urlsplit(addr).hostname or "").encode("idna")
    except ValueError as error:
        raise ValueError("the host is neither a name nor an IPv4 address") from error


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and "@" not in url
    return parts.scheme in ("https", "http") and named and plain
