"""The commands in the manual, which the tests here run as they are written."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("install", "high-availability", "upgrade", "recovery", "certificates")
_BLOCK = re.compile(r"^ *```\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_PROGRAMS = "sudo|apt-get|curl|systemctl|journalctl|twistlock-console"
_WITHIN = re.compile(f"`((?:{_PROGRAMS}) [^`]+)`")


def commands(page: str) -> list[str]:
    """Every command on a page of the manual, without its comment."""
    text = (DOCS / f"{page}.md").read_text()
    blocks = "".join(_BLOCK.findall(text)).splitlines()
    lines = [re.sub(r"\s+#.*", "", line).strip() for line in blocks]
    return [*filter(None, lines), *_WITHIN.findall(_BLOCK.sub("", text))]


def as_written(command: str) -> str:
    """Give *command*, which must be in the manual, letter by letter."""
    assert any(command in commands(page) for page in PAGES), command
    return command
