"""The unit has the folders as they are, whatever characters are in them."""

from pathlib import Path, PurePosixPath

import pytest

from twistlock_console.installation.files import render_unit

TEMPLATE = Path("packaging/twistlock-console.service").read_text()
PROGRAMS, DATA, VOLUME = map(PurePosixPath, ("/opt/t", "/srv/t", "/backup"))


def values(**folders: PurePosixPath) -> dict[str, str]:
    """What the unit says, by key; the last value of each."""
    usual = {"programs": PROGRAMS, "data": DATA, "volume": VOLUME, **folders}
    text = render_unit(TEMPLATE, *usual.values())
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value for key, _, value in pairs}


def test_plain_folders_stay_plain() -> None:
    """No quotes where none are needed."""
    unit = values()

    assert unit["ExecStart"] == (
        "/opt/t/current/bin/twistlock-console run --config /srv/t/scripts/twistlock.cfg"
    )
    assert unit["ReadWritePaths"] == "/srv/t -/backup"
    assert unit["RequiresMountsFor"] == "/srv/t"
    assert "@" not in "".join(unit.values())


@pytest.mark.parametrize(
    ("folder", "command", "path"),
    [
        pytest.param("/a b", '"/a b/scripts/twistlock.cfg"', '"/a b"', id="blank"),
        pytest.param("/a%b", '"/a%%b/scripts/twistlock.cfg"', "/a%%b", id="percent"),
        pytest.param("/a$b", "/a$$b/scripts/twistlock.cfg", "/a$b", id="dollar"),
        pytest.param(
            "/a\\b", '"/a\\\\b/scripts/twistlock.cfg"', "/a\\b", id="backslash"
        ),
        pytest.param(
            "/a'b", '"/a\'b/scripts/twistlock.cfg"', '"/a\'b"', id="single-quote"
        ),
        pytest.param(
            '/a"b', '"/a\\"b/scripts/twistlock.cfg"', '"/a"\'"\'"b"', id="quotes"
        ),
        pytest.param("/a;&#b", "/a;&#b/scripts/twistlock.cfg", "/a;&#b", id="shell"),
        pytest.param(
            "/@WRITABLE@", "/@WRITABLE@/scripts/twistlock.cfg", "/@WRITABLE@", id="word"
        ),
    ],
)
def test_characters_are_quoted_for_systemd(
    folder: str, command: str, path: str
) -> None:
    """Commands and lists of paths have different rules."""
    unit = values(data=PurePosixPath(folder))

    assert unit["ExecStart"].endswith(f" --config {command}")
    assert unit["ReadWritePaths"] == f"{path} -/backup"
    assert unit["RequiresMountsFor"] == path
