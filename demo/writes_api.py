"""Provide an API call that only stores a number, for the demo's count of writes.

Nodes have it only if the demo started them.
"""

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue
from pydantic import Field
from pymongo import ReturnDocument

from demo.plugin import WRITES
from twistlock_console.common.models import Body
from twistlock_console.web.common.database import database
from twistlock_console.web.openapi.api_call import read_json_body
from twistlock_console.web.security.guards import guard_api

PATH = "/api/v1/demo/writes"
bp = Blueprint("demo_writes", __name__)
guard_api(bp, WRITES)


class WriteBody(Body):
    """The next *number* of a *writer*, which counts from 1."""

    writer: str = Field(max_length=64)
    number: int = Field(ge=1)


@bp.post(PATH)
def write() -> ResponseReturnValue:
    """Store a number, journaled on a majority; return the one before."""
    body = read_json_body(WriteBody)
    found = database()["demo_writes"].find_one_and_update(
        {"_id": body.writer},
        {"$max": {"number": body.number}},
        upsert=True,
        return_document=ReturnDocument.BEFORE,
    )
    return {
        "address": current_app.extensions["settings"].node_address,
        "before": found["number"] if found else 0,
    }
