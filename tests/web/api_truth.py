"""Validation of every API answer in tests by openapi.json."""

from types import GenericAlias
from typing import Any

from flask import Flask, Response, current_app, request
from pydantic import TypeAdapter

from twistlock_console.web.openapi.api_call import JSON, api_call_of
from twistlock_console.web.openapi.document import build_document, openapi_path


def hold_to_description(app: Flask) -> None:
    """Make the application fail if an answer differs from its description."""
    paths = build_document(app)["paths"]

    @app.after_request
    def check(response: Response) -> Response:
        rule = request.url_rule
        described = api_call_of(current_app.view_functions.get(request.endpoint or ""))
        if rule is None or described is None or request.method in {"HEAD", "OPTIONS"}:
            return response
        answers = paths[openapi_path(rule)][request.method.lower()]["responses"]
        where = f"{request.method} {rule.rule} answered {response.status_code}"
        assert str(response.status_code) in answers, f"{where}, which is not described"
        if response.status_code >= 400:
            assert set(response.get_json()) == {"err"}, where
        elif described.media != JSON:
            assert response.mimetype == described.media, where
        elif described.answer is None:
            assert response.get_data() == b"", where
        else:
            answer: Any = described.answer
            kind = GenericAlias(list, answer) if described.listing else answer
            TypeAdapter(kind).validate_json(response.get_data())
        return response
