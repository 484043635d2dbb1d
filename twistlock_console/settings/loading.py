"""Load settings from twistlock.cfg and the environment; report all mistakes."""

import difflib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from twistlock_console import plugins
from twistlock_console.common.errors import SettingsError
from twistlock_console.settings import checks, config_file
from twistlock_console.settings.config_file import ConfigEntry, Mistake
from twistlock_console.settings.host import find_address, full_name, is_loopback
from twistlock_console.settings.keys import IGNORED_KEYS, KEYS, Key, all_keys
from twistlock_console.settings.values import Settings

log = logging.getLogger(__name__)

#: Similarity from which a key is suggested, 0 to 1: a letter or a word differs.
MIN_SIMILARITY = 0.8

_ENVIRONMENT = -1  # stands for a line number


class _Mistakes:
    """Collects mistakes; skips those that only follow from an earlier one."""

    def __init__(self, file: str, lines: Mapping[str, int]) -> None:
        self._file = file
        self._lines = lines
        self._found: list[tuple[int, str]] = []
        self._spoilt: set[str] = set()

    def add(self, keys: tuple[str, ...], sentence: str, line: int = 0) -> None:
        """Add *sentence*: the values of *keys* cannot be used."""
        self.add_all([(keys, sentence)], line)
        self._spoilt.update(keys)

    def add_all(self, findings: Iterable[checks.Finding], line: int = 0) -> None:
        """Add each finding, at *line* or the last line that sets one of its keys."""
        for keys, sentence in findings:
            if self._spoilt.isdisjoint(keys):
                set_on = (self._lines[key] for key in keys if key in self._lines)
                self._found.append((line or max(set_on, default=0), sentence))

    def refuse(self) -> None:
        """Raise SettingsError if there are any."""
        if self._found:
            raise SettingsError("\n".join(map(self._format, sorted(self._found))))

    def _format(self, mistake: tuple[int, str]) -> str:
        line, sentence = mistake
        if line == _ENVIRONMENT:
            return f"environment: {sentence}"
        place = f"{self._file}, line {line}" if line else self._file
        return f"{place}: {sentence}"


def load_settings(
    path: Path,
    environ: Mapping[str, str],
    *,
    on_this_host: bool = True,
    root: Path = Path("/"),
) -> Settings:
    """Load the settings. Raises SettingsError with all mistakes, one a line.

    *environ* overrides the file. With *on_this_host* false the host is not checked:
    right for a command that only talks to a running node. *root* is where evidence of a
    cluster manager is sought.
    """
    content = read_config(path)
    if not on_this_host:
        return parse_settings(content, str(path), environ)

    def check(settings: Settings) -> Iterator[checks.Finding]:
        yield from checks.check_host(settings)
        yield from check_plugins(settings, environ, root)

    return parse_settings(content, str(path), environ, check)


def parse_settings(
    content: bytes,
    name: str,
    environ: Mapping[str, str],
    check_more: Callable[[Settings], Iterable[checks.Finding]] = lambda _: (),
) -> Settings:
    """Parse the settings in *content*, whose name in mistakes is *name*.

    *check_more* yields problems of the host. Raises SettingsError as `load_settings`.
    """
    file = config_file.parse(content, environ)
    texts = {entry.key: entry.value for entry in file.entries}
    overriding = {key: environ[key] for key in _known() if key in environ}
    lines = {entry.key: entry.line for entry in file.entries}
    mistakes = _Mistakes(name, lines | dict.fromkeys(overriding, _ENVIRONMENT))
    _check_file(name, file.entries, file.mistakes, mistakes)
    settings = _fill(_parse_values(texts | overriding, mistakes), mistakes)
    mistakes.add_all(checks.check_values(settings))
    for plugin in plugins.installed():
        mistakes.add_all(plugin.check_settings(settings))
    mistakes.add_all(check_more(settings))
    mistakes.refuse()
    return settings


def check_plugins(
    settings: Settings, environ: Mapping[str, str], root: Path
) -> Iterator[checks.Finding]:
    """Yield problems of the host for the plugins that *settings* enable."""
    for plugin in plugins.enabled(settings):
        yield from plugin.check_host(settings, environ, root)


def read_config(path: Path) -> bytes:
    """Return the content of the file at *path*. Raises SettingsError."""
    try:
        if not path.is_file():
            raise SettingsError(f"Configuration file {path} must be present")
        with path.open("rb") as file:
            return file.read(config_file.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"Configuration file {path} cannot be read: {error.strerror}"
        ) from error
    except ValueError as error:
        raise SettingsError(f"{str(path)!r} is not the path of a file") from error


def _known() -> list[str]:
    return [key.name for key in all_keys()] + sorted(IGNORED_KEYS)


def _check_file(
    name: str,
    entries: Iterable[ConfigEntry],
    found: Iterable[Mistake],
    mistakes: _Mistakes,
) -> None:
    for mistake in found:
        keys = (mistake.key,) if mistake.key else ()
        mistakes.add(keys, mistake.sentence, mistake.line)
    known = _known()
    for entry in entries:
        if entry.key not in known:
            log.warning(
                "%s, line %s: %s is not a known key and is ignored%s",
                name,
                entry.line,
                entry.key,
                _hint(entry.key),
            )


def _hint(key: str) -> str:
    """Return a hint at the key that *key* may misspell; "" if none is similar."""
    ours = [each.name for each in all_keys()]
    near = difflib.get_close_matches(key.upper(), ours, n=1, cutoff=MIN_SIMILARITY)
    return f"; the nearest is {near[0]}" if near else ""


def _parse_values(texts: Mapping[str, str], mistakes: _Mistakes) -> Settings:
    if texts.get("MANAGEMENT_PORT_HTTP"):
        mistakes.add(
            ("MANAGEMENT_PORT_HTTP",),
            "MANAGEMENT_PORT_HTTP must be empty: plain HTTP is not offered; "
            "use MANAGEMENT_PORT_HTTPS",
        )
    by_name = {key.name: _parse_value(key, texts, mistakes) for key in all_keys()}
    values: dict[str, Any] = {k.attribute: by_name.pop(k.name) for k in KEYS}
    return Settings(**values, plugin_values=by_name)


def _parse_value(key: Key, texts: Mapping[str, str], mistakes: _Mistakes) -> object:
    text = texts.get(key.name, key.default)
    try:
        return key.parse(text)
    except ValueError as error:
        mistakes.add((key.name,), f"{key.name} is {_clip(text)}: {error}")
        return key.parse(key.default)


def _fill(settings: Settings, mistakes: _Mistakes) -> Settings:
    """Fill in defaults of the host for values that were left empty."""
    if not settings.console_cn:
        settings = replace(settings, console_cn=full_name())
    if settings.node_address:
        return settings
    address = find_address()
    is_alone = not any(p.is_clustered for p in plugins.enabled(settings))
    if address is None or (is_loopback(address) and not is_alone):
        mistakes.add(
            ("NODE_ADDRESS",),
            "no address of this host is found that other hosts could reach; "
            "set NODE_ADDRESS to one",
        )
    return replace(settings, node_address=address or "127.0.0.1")


def _clip(text: str) -> str:
    if not text:
        return "empty"
    return repr(text if len(text) <= 60 else text[:57] + "...")
