"""What commands print: lines, JSON, and progress on a terminal."""

import json
import sys
from collections.abc import Sequence

import click

PROGRESS_COLUMNS = 70


def print_line(text: object = "", *, end: str = "\n") -> None:
    """Print *text* on standard output."""
    click.echo(f"{text}{end}", nl=False)


def print_json(value: object) -> None:
    """Print *value* as one line of JSON."""
    click.echo(json.dumps(value))


def print_row(cells: Sequence[object], widths: Sequence[int]) -> None:
    """Print *cells* in columns of *widths* characters; further cells as they are."""
    padded = [f"{cell:<{w}}" for cell, w in zip(map(str, cells), widths, strict=False)]
    click.echo(" ".join([*padded, *map(str, cells[len(widths) :])]).rstrip())


def print_error(text: object) -> None:
    """Print *text* on standard error."""
    click.echo(str(text), err=True)


def show_progress(line: str) -> None:
    """Replace the last line of the terminal with *line*; print nothing elsewhere."""
    if sys.stderr.isatty():
        click.echo(f"\r{line:<{PROGRESS_COLUMNS}}", err=True, nl=False)
