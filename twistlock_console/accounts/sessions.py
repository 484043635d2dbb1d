"""Sessions of pages and API: their age, their tokens, and their end by a log-out."""

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
    """One login: *issued* is in Unix seconds and moves when it is renewed."""

    id: str
    username: str
    epoch: int
    issued: int

    @classmethod
    def start(cls, user: User, now: int) -> Self:
        """Start a session of *user* with an unguessable name."""
        return cls(secrets.token_urlsafe(16), user.username, user.session_epoch, now)

    def renewed(self, now: int) -> "Session":
        """Return the same session, counted from *now*."""
        return replace(self, issued=now)


class SessionAge(Enum):
    """The age of a session, and so what to do about it."""

    FRESH = "leave it"
    RENEW = "half of its time is over"
    EXPIRED = "it has ended"


def session_age(session: Session, now: int, timeout: int) -> SessionAge:
    """Judge a session by the inactivity *timeout*, in seconds, in force now."""
    elapsed = now - session.issued
    if elapsed >= timeout:
        return SessionAge.EXPIRED
    return SessionAge.RENEW if elapsed * 2 >= timeout else SessionAge.FRESH


def derive_key(secret: bytes, purpose: str) -> bytes:
    """Make a key from the cluster's *secret* that serves one *purpose* only."""
    return hmac.digest(secret, f"twistlock {purpose}".encode(), hashlib.sha256)


def write_token(key: bytes, session: Session, user: User, timeout: int) -> str:
    """Return the session as a signed token which ends *timeout* seconds later."""
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
    """Return the session in *token*; None if it is forged, foreign or too old.

    A role is not read from it: what counts is the role that the user has now.
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
    """End the session; stored for the longest time that one can last."""
    expires = datetime.now(UTC) + timedelta(seconds=MAX_SESSION_TIMEOUT_S)
    store.revoke(database, RevocationKind.SESSION, session_id, expires=expires)


def is_session_revoked(database: Database[dict[str, object]], session_id: str) -> bool:
    """Return whether the session was ended by a log-out."""
    return store.is_revoked(database, RevocationKind.SESSION, session_id)
