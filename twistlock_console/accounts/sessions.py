"""Create, encode, renew and revoke sessions of pages and API."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Self

import jwt
from pymongo.database import Database

from twistlock_console.accounts.login_settings import MAX_SESSION_TIMEOUT_S
from twistlock_console.accounts.users import User
from twistlock_console.revocation import store
from twistlock_console.revocation.store import RevocationKind

ALGORITHM = "HS256"
ISSUER = "twistlock"


@dataclass(frozen=True, slots=True)
class Session:
    """One session; *issued* is the Unix time of the start or the last renewal."""

    id: str
    username: str
    epoch: int
    issued: int

    @classmethod
    def start(cls, user: User, now: int) -> Self:
        """Start a session of *user* with a random id at Unix time *now*."""
        return cls(secrets.token_urlsafe(16), user.username, user.session_epoch, now)

    def renewed(self, now: int) -> "Session":
        """Return the same session, issued *now*."""
        return replace(self, issued=now)


class SessionAge(Enum):
    """The age of a session, which decides whether it is renewed or ended."""

    FRESH = "leave it"
    RENEW = "half of its time is over"
    EXPIRED = "it has ended"


def session_age(session: Session, now: int, timeout: int) -> SessionAge:
    """Return the age of *session* for the inactivity *timeout* in seconds."""
    elapsed = now - session.issued
    if elapsed >= timeout:
        return SessionAge.EXPIRED
    return SessionAge.RENEW if elapsed * 2 >= timeout else SessionAge.FRESH


def derive_key(secret: bytes, purpose: str) -> bytes:
    """Derive a key for one *purpose* from the cluster's *secret* (HMAC-SHA256)."""
    return hmac.digest(secret, f"twistlock {purpose}".encode(), hashlib.sha256)


def write_token(key: bytes, session: Session, user: User, timeout: int) -> str:
    """Return the session as a signed JWT that expires *timeout* seconds after issue."""
    claims = {
        "iss": ISSUER,
        "user": user.username,
        "role": user.role.value,
        "iat": session.issued,
        "exp": session.issued + timeout,
        "jti": session.id,
        "sessionEpoch": session.epoch,
        "sessionTimeoutSec": timeout,
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def read_token(key: bytes, token: str) -> Session | None:
    """Return the session in *token*; None if it is invalid or expired.

    The role in the token is ignored: the present role of the user counts.
    """
    required = ["iss", "user", "iat", "exp", "jti", "sessionEpoch"]
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            # The clock of the node that issued it may run ahead of ours.
            options={"require": required, "verify_iat": False},
        )
    except jwt.InvalidTokenError:
        return None
    return Session(
        str(claims["jti"]),
        str(claims["user"]),
        int(claims["sessionEpoch"]),
        int(claims["iat"]),
    )


def revoke_session(database: Database[dict[str, object]], session_id: str) -> None:
    """Revoke the session; the record is kept for the longest possible session."""
    expires = datetime.now(UTC) + timedelta(seconds=MAX_SESSION_TIMEOUT_S)
    store.revoke(database, RevocationKind.SESSION, session_id, expires=expires)


def is_session_revoked(database: Database[dict[str, object]], session_id: str) -> bool:
    """Return whether a log-out has revoked the session."""
    return store.is_revoked(database, RevocationKind.SESSION, session_id)
