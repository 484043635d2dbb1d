"""What a form shows again after it was refused: all that was typed, but no secret.

A form that is saved leads to another page. So a page that answers a POST shows what
that POST sent, where it has fields of these names, and not what is stored.
"""

from flask import Flask, request


def init_app(app: Flask) -> None:
    """Offer `typed` and `ticked` to the templates."""
    app.jinja_env.globals.update(typed=typed, ticked=ticked)


def typed(name: str, stored: object = "") -> str:
    """Return what was typed into the field *name*; else what is *stored*."""
    if request.method == "POST" and name in request.form:
        return request.form[name]
    return str(stored)


def ticked(name: str, stored: object = False) -> bool:
    """Say whether the box *name* was ticked, else whether that is *stored*.

    A box that is not ticked is not sent.
    """
    if request.method == "POST":
        return name in request.form
    return bool(stored)
