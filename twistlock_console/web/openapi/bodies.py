"""What a request may carry: each body is checked here, where it enters."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Literal, TypeVar

from flask import request
from pydantic import Field, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from twistlock_console.accounts.login_settings import (
    LONGEST_TIMEOUT,
    SHORTEST_TIMEOUT,
    LogonSettings,
)
from twistlock_console.accounts.rights import UserRole
from twistlock_console.common.errors import Refused
from twistlock_console.common.json_members import (
    RepeatedMember,
    closed_schema,
    find_unknown_members,
    parse_json,
    plain_reason,
)
from twistlock_console.common.models import Body
from twistlock_console.web.openapi.api_call import expect
from twistlock_console.web.security.login_attempt import Name, Password


class UserBody(Body):
    """A user as a whole; what is left out goes back to its default.

    A password that is left out of a change stays as it is. *lastModified*, which a
    GET gives, is taken back and means nothing.
    """

    username: Name
    password: Password | None = None
    role: UserRole = UserRole.AUDITOR
    auth_type: Literal["basic"] = "basic"
    last_modified: datetime | None = None


class PasswordChange(Body):
    """The present password and the new one."""

    old_password: Password
    new_password: Password


class LogonBody(Body):
    """The logon settings; what is left out goes back to its default."""

    session_timeout_sec: int = Field(1800, ge=SHORTEST_TIMEOUT, le=LONGEST_TIMEOUT)
    strong_password: bool = False
    basic_auth_disabled: bool = False

    def settings(self) -> LogonSettings:
        """Give the settings as the accounts know them."""
        return LogonSettings(
            self.session_timeout_sec, self.strong_password, self.basic_auth_disabled
        )


B = TypeVar("B", bound=Body)


def json_body(kind: type[B]) -> B:
    """Read the request's JSON body; raises Refused with what is wrong in it.

    The content type must be JSON: a page elsewhere cannot make a browser send that.
    """
    refuse_unknown_members(kind, plain_json(kind))
    try:
        return kind.model_validate_json(_sent())
    except ValidationError as error:
        raise Refused(_first_mistake(error)) from error


def optional_json_body(kind: type[B]) -> B:
    """Read a JSON body that may be left out: each of its fields has a default."""
    return json_body(kind) if _sent().strip() else kind()


def plain_json(described: object) -> object:
    """Read a JSON body that is checked elsewhere against what is *described*.

    Raises Refused where it is no JSON, has a member twice in one object, or is nested
    so deep that it means harm.
    """
    expect("body", described)
    if not request.is_json:
        raise UnsupportedMediaType("send the body as application/json")
    try:
        return parse_json(_sent())
    except RepeatedMember as error:
        raise Refused(str(error)) from error
    except ValueError as error:
        raise Refused("the body is not valid JSON") from error


def refuse_unknown_members(kind: object, given: object) -> None:
    """Raise Refused if *given* has, at any depth, members that *kind* does not have."""
    if unknown := find_unknown_members(closed_schema(kind), given):
        raise Refused(unknown.sentence)


def _sent() -> bytes:
    """Return the body as it was sent; of a form Flask would keep only the fields."""
    return request.get_data(parse_form_data=False)


def form_body(
    kind: type[B],
    fields: Mapping[str, object],
    labels: Mapping[str, str] = MappingProxyType({}),
) -> B:
    """Read the fields of a form; raises Refused with what is wrong in them.

    *labels* are what the page calls the members of the body, by their paths.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise Refused(_first_mistake(error, labels)) from error


def _first_mistake(
    error: ValidationError, labels: Mapping[str, str] = MappingProxyType({})
) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[
        0
    ]
    where = ".".join(str(part) for part in first["loc"]) or "the body"
    return f"{labels.get(where, where)}: {plain_reason(first['msg'])}"
