"""What an API call takes and answers, said beside its route.

The description in openapi.json is made from it. `json_body` and `query_of` refuse to
read anything but what is described, so that the two cannot differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import current_app, request
from flask.typing import ResponseReturnValue

from twistlock_console.common.errors import Refused
from twistlock_console.web.lists.schema import Listable

View = Callable[..., ResponseReturnValue]
JSON = "application/json"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Clients that always send a body send one of these where there is nothing to say.
EMPTY_BODIES = frozenset({b"", b"{}", b"null", b'""'})
LONGEST_EMPTY_BODY = 64


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One call, beside its path and method; decorates the function that answers it.

    *answer* is a type that pydantic knows; None: the answer is empty. A *listing*
    answers with a list of *answer*. *media* other than JSON says that the answer is
    text or a file, *upload* that the body is a file of this media type. *raises* are
    statuses of errors, of those in openapi.WHEN, beside what guards, bodies and paths
    with names bring with them.
    """

    body: Any = None
    body_required: bool = True
    query: Any = None
    listing: Listable | None = None
    answer: Any = None
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
            def answering(*arguments: Any, **named: Any) -> ResponseReturnValue:
                refuse_body()
                return view(*arguments, **named)

        _CALLS[answering] = self
        return answering


_CALLS: dict[object, ApiCall] = {}


def refuse_body() -> None:
    """Raise Refused if this request changes something and its body says more."""
    if request.method in SAFE_METHODS:
        return
    sent = request.stream.read(LONGEST_EMPTY_BODY)
    if sent.strip() not in EMPTY_BODIES:
        raise Refused("this call takes no body; send it without one")


def call_of(view: object) -> ApiCall | None:
    """Give what was said of a view function, if anything was."""
    return _CALLS.get(view)


def expect(part: str, kind: object) -> None:
    """Raise TypeError if this request's route describes another *kind* of *part*.

    Says nothing of a route that nobody has described.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    described = call_of(view)
    if described is not None and getattr(described, part) is not kind:
        raise TypeError(f"{request.endpoint} reads another {part} than it describes")
