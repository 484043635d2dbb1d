"""Templates: compiled in advance, with the filters and functions that they use.

A form shows again, after it was refused, all that was typed, but no secret. A form that
is saved leads to another page. So a page that answers a POST shows what that POST sent,
where it has fields of these names, and not what is stored.
"""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from flask import Flask, request
from jinja2 import FileSystemBytecodeCache
from jinja2.bccache import Bucket

from twistlock_console import __version__


class _TemplateCache(FileSystemBytecodeCache):
    """Keeps compiled templates where it can: a full disk only makes a start slower."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write what was compiled, if there is room."""
        with suppress(OSError):
            super().dump_bytecode(bucket)


def cache_compiled(app: Flask, folder: Path) -> None:
    """Keep compiled templates in *folder*, for a standby that takes over."""
    app.jinja_options = {"bytecode_cache": _TemplateCache(str(folder))}


def init_app(app: Flask) -> None:
    """Offer filters and functions to the templates."""
    app.jinja_env.filters.update(sentence=_to_sentence, moment=_format_time)
    app.jinja_env.globals.update(
        typed=typed, ticked=ticked, product_version=__version__
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def compile_templates(app: Flask) -> None:
    """Compile every template now, so that the first request need not."""
    for name in app.jinja_env.list_templates(["html"]):
        app.jinja_env.get_template(name)


def typed(name: str, stored: object = "") -> str:
    """Return what was typed into the field *name*; else what is *stored*."""
    if request.method == "POST" and name in request.form:
        return request.form[name]
    return str(stored)


def ticked(name: str, stored: object = False) -> bool:
    """Return whether the box *name* was ticked, else whether that is *stored*.

    A box that is not ticked is not sent.
    """
    if request.method == "POST":
        return name in request.form
    return bool(stored)


def _to_sentence(text: str) -> str:
    """Begin with a capital letter and end with a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def _format_time(time: datetime | None) -> str:
    """Write a time as people read it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC") if time else "never"
