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
#: Clients that always send a body send one of these where there is nothing to say.
EMPTY_BODIES = frozenset({b"", b"{}", b"null", b'""'})
MAX_EMPTY_BODY_BYTES = 64
B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One call, beside its path and method; decorates the function that answers it.

    *answer* is a type that pydantic knows; None: the answer is empty. A *listing*
    answers with a list of *answer*. *media* other than JSON says that the answer is
    text or a file, *upload* that the body is a file of this media type. *raises* are
    statuses of errors, of those in openapi.WHEN, beside what guards, bodies and paths
    with names bring with them.
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
        """Note that *view* answers this call; the route goes above.

        A body that is sent to a call without one is refused: its sender believes that
        it counts.
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
    """Raise Refused if this request changes something and its body says more."""
    if request.method in SAFE_METHODS:
        return
    sent = request.stream.read(MAX_EMPTY_BODY_BYTES)
    if sent.strip() not in EMPTY_BODIES:
        raise Refused("this call takes no body; send it without one")


def api_call_of(view: object) -> ApiCall | None:
    """Return what was said of a view function, if anything was."""
    return _CALLS.get(view)


def check_described(part: str, kind: object) -> None:
    """Raise TypeError if this request's route describes another *kind* of *part*.

    Says nothing of a route that nobody has described.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    described = api_call_of(view)
    if described is not None and getattr(described, part) is not kind:
        raise TypeError(f"{request.endpoint} reads another {part} than it describes")


@dataclass(frozen=True, slots=True)
class ListCall:
    """A list over the API: what it lists, and what its CSV file has, in words.

    Without words for the CSV file there is none.
    """

    summary: str
    answer: type[BaseModel]
    csv: str = ""


def register_list_call(
    bp: Blueprint, path: str, endpoint: str, source: ListSource, call: ListCall
) -> None:
    """Answer *path* of *bp* with a list, and *path*/download with its CSV file."""

    def listed() -> ResponseReturnValue:
        return source.as_json()

    def as_csv() -> ResponseReturnValue:
        return source.as_csv()

    listed.__doc__ = call.summary
    as_json = ApiCall(listing=source.listable, answer=call.answer)
    bp.add_url_rule(path, endpoint, as_json(listed))
    if call.csv:
        as_csv.__doc__ = f"Give {call.csv} as a CSV file."
        as_file = ApiCall(listing=source.listable, media="text/csv")
        bp.add_url_rule(f"{path}/download", f"{endpoint}_csv", as_file(as_csv))


def read_json_body(kind: type[B]) -> B:
    """Read the request's JSON body; raises Refused with what is wrong in it.

    The content type must be JSON: a page elsewhere cannot make a browser send that.
    """
    refuse_unknown_members(kind, parse_json_body(kind))
    try:
        return kind.model_validate_json(_read_body())
    except ValidationError as error:
        raise Refused(_first_error(error)) from error


def read_optional_json_body(kind: type[B]) -> B:
    """Read a JSON body that may be left out: each of its fields has a default."""
    return read_json_body(kind) if _read_body().strip() else kind()


def parse_json_body(described: object) -> object:
    """Read a JSON body that is checked elsewhere against what is *described*.

    Raises Refused where it is no JSON, has a member twice in one object, or is nested
    so deep that it means harm.
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
    """Raise Refused if *given* has, at any depth, members that *kind* does not have."""
    if unknown := find_unknown_members(closed_schema(kind), given):
        raise Refused(unknown.sentence)


def _read_body() -> bytes:
    """Return the body as it was sent; of a form Flask would keep only the fields."""
    return request.get_data(parse_form_data=False)


def read_form(
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
        raise Refused(_first_error(error, labels)) from error


def _first_error(
    error: ValidationError, labels: Mapping[str, str] = MappingProxyType({})
) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[
        0
    ]
    where = ".".join(str(part) for part in first["loc"]) or "the body"
    return f"{labels.get(where, where)}: {plain_reason(first['msg'])}"
