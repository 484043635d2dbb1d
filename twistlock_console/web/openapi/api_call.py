"""Description of an API call beside its route, and reading of its request body.

openapi.json is made from these descriptions. `read_json_body` and `parse_json_body`
refuse to read a body of another type than the described one, so that the description
and the code cannot differ.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from types import MappingProxyType
from typing import TypeVar

from flask import Blueprint, current_app, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from twistlock_console.common.errors import Refused
from twistlock_console.common.json_members import (
    RepeatedMember,
    closed_schema,
    find_unknown_members,
    parse_json,
    plain_reason,
)
from twistlock_console.common.models import Body
from twistlock_console.web.lists.listing import ListSource
from twistlock_console.web.lists.schema import Listable
from twistlock_console.web.security.guards import SAFE_METHODS

View = Callable[..., ResponseReturnValue]
JSON = "application/json"
#: Bodies that count as empty: some clients send one of these with every request.
EMPTY_BODIES = frozenset({b"", b"{}", b"null", b'""'})
MAX_EMPTY_BODY_BYTES = 64
B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True)
class ApiCall:
    """Description of one API call; decorates the function that answers it.

    Attributes:
        body: type of the JSON body, as pydantic knows types; None: no body.
        body_required: whether the body may not be left out.
        query: model of the query parameters.
        listing: the list that the call returns, as an array of *answer*.
        answer: type of the response, as pydantic knows types; None: it is empty.
        media: media type of the response; other than JSON, it is text or a file.
        upload: media type of a body that is a file.
        raises: HTTP statuses of errors, from ERROR_DESCRIPTIONS, besides those that
            guards, bodies and names in the path bring with them.
    """

    body: object = None
    body_required: bool = True
    query: object = None
    listing: Listable | None = None
    answer: object = None
    media: str = JSON
    upload: str = ""
    raises: tuple[int, ...] = ()

    def __call__(self, view: View) -> View:
        """Attach this description to *view*; the decorator of the route goes above.

        A call without a described body refuses a body: its sender believes that the
        body has an effect.
        """
        answering = view
        if self.body is None and not self.upload:

            @wraps(view)
            def answering(*arguments: object, **named: object) -> ResponseReturnValue:
                refuse_body()
                return view(*arguments, **named)

        _CALLS[answering] = self
        return answering


_CALLS: dict[object, ApiCall] = {}


def refuse_body() -> None:
    """Raise Refused if this request changes something and its body is not empty."""
    if request.method in SAFE_METHODS:
        return
    sent = request.stream.read(MAX_EMPTY_BODY_BYTES)
    if sent.strip() not in EMPTY_BODIES:
        raise Refused("this call takes no body; send it without one")


def api_call_of(view: object) -> ApiCall | None:
    """Return the description of a view function; None if it has none."""
    return _CALLS.get(view)


def check_described(part: str, kind: object) -> None:
    """Raise TypeError if the route of this request describes another type.

    A route without a description passes.

    Args:
        part: attribute of ApiCall, such as "body".
        kind: the type that the view reads.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    described = api_call_of(view)
    if described is not None and getattr(described, part) is not kind:
        raise TypeError(f"{request.endpoint} reads another {part} than it describes")


@dataclass(frozen=True, slots=True)
class ListCall:
    """Description of a list over the API.

    Attributes:
        summary: what the call does, in one sentence.
        answer: model of an item.
        csv: what the CSV file contains, in words; empty: there is no CSV file.
    """

    summary: str
    answer: type[BaseModel]
    csv: str = ""


def register_list_call(
    bp: Blueprint, path: str, endpoint: str, source: ListSource, call: ListCall
) -> None:
    """Register a list at *path* of *bp*, and its CSV file at *path*/download."""

    def listed() -> ResponseReturnValue:
        return source.as_json()

    def as_csv() -> ResponseReturnValue:
        return source.as_csv()

    listed.__doc__ = call.summary
    as_json = ApiCall(listing=source.listable, answer=call.answer)
    bp.add_url_rule(path, endpoint, as_json(listed))
    if call.csv:
        as_csv.__doc__ = f"Return {call.csv} as a CSV file."
        as_file = ApiCall(listing=source.listable, media="text/csv")
        bp.add_url_rule(f"{path}/download", f"{endpoint}_csv", as_file(as_csv))


def read_json_body(kind: type[B]) -> B:
    """Parse and validate the request's JSON body.

    The content type must be JSON: a page of another site cannot make a browser send it.

    Raises:
        Refused: the body is invalid; the message has the first error.
    """
    refuse_unknown_members(kind, parse_json_body(kind))
    try:
        return kind.model_validate_json(_read_body())
    except ValidationError as error:
        raise Refused(_first_error(error)) from error


def read_optional_json_body(kind: type[B]) -> B:
    """Parse a JSON body that may be left out: each of its fields has a default."""
    return read_json_body(kind) if _read_body().strip() else kind()


def parse_json_body(described: object) -> object:
    """Parse a JSON body whose content the caller validates.

    *described* is the type in the description of the call.

    Raises:
        Refused: the body is no JSON, repeats a member in one object, or is nested so
            deep that it may be an attack.
    """
    check_described("body", described)
    if not request.is_json:
        raise UnsupportedMediaType("send the body as application/json")
    try:
        return parse_json(_read_body())
    except RepeatedMember as error:
        raise Refused(str(error)) from error
    except ValueError as error:
        raise Refused("the body is not valid JSON") from error


def refuse_unknown_members(kind: object, given: object) -> None:
    """Raise Refused if *given* has, at any depth, members that *kind* lacks."""
    if unknown := find_unknown_members(closed_schema(kind), given):
        raise Refused(unknown.sentence)


def _read_body() -> bytes:
    """Return the body as sent; Flask would keep only the fields of a form."""
    return request.get_data(parse_form_data=False)


def read_form(
    kind: type[B],
    fields: Mapping[str, object],
    labels: Mapping[str, str] = MappingProxyType({}),
) -> B:
    """Validate the fields of a form.

    Args:
        kind: model of the body.
        fields: values by the names of the model's members.
        labels: labels of the page by the paths of members, for messages.

    Raises:
        Refused: a field is invalid; the message has the first error.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise Refused(_first_error(error, labels)) from error


def _first_error(
    error: ValidationError, labels: Mapping[str, str] = MappingProxyType({})
) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[
        0
    ]
    where = ".".join(str(part) for part in first["loc"]) or "the body"
    return f"{labels.get(where, where)}: {plain_reason(first['msg'])}"
