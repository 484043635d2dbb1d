"""Templates: compiled in advance, with the filters and functions that they use.

A refused form shows again everything that was typed, except secrets. A saved form
redirects to another page. So a page that answers a POST fills its fields with what that
POST sent, and not with what is stored.
"""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from flask import Flask, request
from jinja2 import FileSystemBytecodeCache
from jinja2.bccache import Bucket

from twistlock_console import __version__


class _TemplateCache(FileSystemBytecodeCache):
    """Cache of compiled templates that ignores write errors.

    A full disk makes a start slower and must not prevent it.
    """

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write a compiled template; ignore errors of the disk."""
        with suppress(OSError):
            super().dump_bytecode(bucket)


def cache_compiled(app: Flask, folder: Path) -> None:
    """Cache compiled templates in *folder*, so that a failover is faster."""
    app.jinja_options = {"bytecode_cache": _TemplateCache(str(folder))}


def init_app(app: Flask) -> None:
    """Make filters and functions available to templates."""
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
    """Return the submitted text of the field *name*; without one, *stored*."""
    if request.method == "POST" and name in request.form:
        return request.form[name]
    return str(stored)


def ticked(name: str, stored: object = False) -> bool:
    """Return whether the box *name* was submitted ticked; without a form, *stored*.

    Browsers do not send a box that is not ticked.
    """
    if request.method == "POST":
        return name in request.form
    return bool(stored)


def _to_sentence(text: str) -> str:
    """Return *text* with a capital letter first and a full stop at the end."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def _format_time(time: datetime | None) -> str:
    """Format a time in UTC for a page; "never" for None."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC") if time else "never"
