"""What a request may carry: each body is checked here, where it enters."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from flask import request
from pydantic import Field, ValidationError
from pydantic_core import from_json
from werkzeug.exceptions import UnsupportedMediaType

from twistlock_console.accounts.login_settings import (
    LONGEST_TIMEOUT,
    SHORTEST_TIMEOUT,
    LogonSettings,
)
from twistlock_console.accounts.roles import UserRole
from twistlock_console.common.errors import Refused
from twistlock_console.common.models import Body
from twistlock_console.web.openapi.api_call import expect

Name = Annotated[str, Field(min_length=1, max_length=256)]
Password = Annotated[str, Field(min_length=1, max_length=1024)]


class Credentials(Body):
    """A username and a password."""

    username: Name
    password: Password


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
    expect("body", kind)
    _must_be_json()
    try:
        return kind.model_validate_json(request.get_data())
    except ValidationError as error:
        raise Refused(_first_mistake(error)) from error


def plain_json(described: object) -> object:
    """Read a JSON body that is checked elsewhere against what is *described*.

    Raises Refused where it is no JSON, or nested so deep that it means harm.
    """
    expect("body", described)
    _must_be_json()
    try:
        return from_json(request.get_data())
    except ValueError as error:
        raise Refused("the body is not valid JSON") from error


def _must_be_json() -> None:
    if not request.is_json:
        raise UnsupportedMediaType("send the body as application/json")


def form_body(kind: type[B], fields: Mapping[str, object]) -> B:
    """Read the fields of a form; raises Refused with what is wrong in them."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise Refused(_first_mistake(error)) from error


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[
        0
    ]
    if first["type"] == "json_invalid":
        return "the body is not valid JSON"
    where = ".".join(str(part) for part in first["loc"]) or "the body"
    message = first["msg"]
    return f"{where}: {message[0].lower()}{message[1:]}"
