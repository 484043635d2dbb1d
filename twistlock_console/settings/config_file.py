"""Parse the text of twistlock.cfg: it has shell syntax, and is never executed.

A line is ``KEY=value``, a ``#`` comment or empty. A value is one word, partly or
wholly in quotes; outside single quotes ``${VAR-default}`` and ``${VAR:-default}``
stand for an environment variable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

PLAIN_VALUE_HINT = (
    "write the plain value, ${VAR-default} to take it from the environment, "
    "or put special characters in 'single quotes'"
)
MAX_FILE_BYTES = 1_000_000

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_VARIABLE = r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:?-)([^}$`\\'\"]*)\}"
_PART = re.compile(
    r"'(?P<single>[^']*)'"
    rf'|"(?P<double>(?:{_VARIABLE}|[^"$`\\])*)"'
    rf"|(?P<variable>{_VARIABLE})"
    r"|(?P<plain>[^\s'\"$`\\;&|<>()]+)"
)
_EXPANSION = re.compile(_VARIABLE)
#: Files of old Macs end lines with it; here the next line would be part of the line.
_LONE_RETURN = re.compile(r"\r(?![\r\n]|$)")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One key, its value after quotes and variables, and its line number.

    *text* is its line, without white space around it.
    """

    key: str
    value: str
    line: int
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A problem in one sentence; *line* is 0 for the file as a whole."""

    line: int
    sentence: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The parsed entries, and the lines that could not be parsed."""

    entries: tuple[ConfigEntry, ...]
    mistakes: tuple[Mistake, ...] = ()


def parse(content: bytes, environ: Mapping[str, str]) -> ConfigFile:
    """Parse *content* with variables from *environ*; raise nothing."""
    lines = decode_lines(content)
    if isinstance(lines, Mistake):
        return ConfigFile((), (lines,))
    entries: dict[str, ConfigEntry] = {}
    mistakes = []
    for number, line in enumerate(lines, start=1):
        found = _parse_line(number, line.strip(), environ)
        if isinstance(found, Mistake):
            mistakes.append(found)
        elif found and found.key in entries:
            mistakes.append(_set_twice(entries[found.key], found))
        elif found:
            entries[found.key] = found
    return ConfigFile(tuple(entries.values()), tuple(mistakes))


def decode_lines(content: bytes) -> list[str] | Mistake:
    """Split *content* into lines, without a byte order mark."""
    if len(content) > MAX_FILE_BYTES:
        return Mistake(
            0, f"the file has more than {MAX_FILE_BYTES} bytes, a wrong file?"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Mistake(0, "the file is not UTF-8 text; save it as plain text")
    if found := _NOT_TEXT.search(text):
        line = text.count("\n", 0, found.start()) + 1
        return Mistake(
            line,
            f"the file is not plain text: control character {found[0]!r}; "
            "save it as plain text",
        )
    if found := _LONE_RETURN.search(text):
        return Mistake(
            text.count("\n", 0, found.start()) + 1,
            "the file has a carriage return alone at the end of a line; save it with "
            "the line ends of Linux",
        )
    return text.split("\n")


def _parse_line(
    number: int, line: str, environ: Mapping[str, str]
) -> ConfigEntry | Mistake | None:
    if not line or line.startswith("#"):
        return None
    assignment = _ASSIGNMENT.fullmatch(line)
    if assignment is None:
        return Mistake(
            number,
            f"{_clip(line)} is not KEY=value (no space around '='); "
            "shell code is not run here",
        )
    key, raw = assignment.groups()
    value, rest = _take_word(raw, environ)
    if rest and not re.match(r"\s+#|\s*$", rest):
        return Mistake(number, _describe_rest(key, rest), key)
    return ConfigEntry(key, value, number, line)


def quote(value: str) -> str:
    """Quote *value*, which has no line breaks, so that `parse` returns it."""
    if re.fullmatch(r"[^\s'\"$`\\;&|<>()#]*", value):
        return value
    return "'" + value.replace("'", "'\"'\"'") + "'"


def _take_word(raw: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Split *raw* into its first word's value and what follows the word."""

    def expand(found: re.Match[str]) -> str:
        name, operator, default = found.groups()
        value = environ.get(name)
        empty = value == "" and operator == ":-"
        return default if value is None or empty else value

    value, position = "", 0
    while part := _PART.match(raw, position):
        position = part.end()
        match part.lastgroup:
            case "single" | "plain" as literal:
                value += part[literal]
            case kind:
                value += _EXPANSION.sub(expand, part[str(kind)])
    return value, raw[position:]


def _describe_rest(key: str, rest: str) -> str:
    rest_shown = _clip(rest.strip())
    if rest[0] in "'\"" and rest[0] not in rest[1:]:
        return f"{key}: a quote is not closed on this line: {rest_shown}"
    if rest[0].isspace() and rest.strip()[0] not in ";&|<>()$`":
        return (
            f"{key}: more words follow the value: {rest_shown}; "
            "put a value with spaces in quotes"
        )
    return f"{key}: shell code is not run: {rest_shown}; {PLAIN_VALUE_HINT}"


def _set_twice(first: ConfigEntry, second: ConfigEntry) -> Mistake:
    return Mistake(
        second.line,
        f"{second.key} is set twice, on line {first.line} and here; keep one",
        second.key,
    )


def _clip(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
