"""A browser on the host of this program, controlled over standard input.

Reads one JSON order a line, [name, argument …], and answers each with one JSON line:
what it saw, or {"error": …}. Pictures go to the folder that the first argument names.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

from tests.browser.visitor import BrowserUser
from tests.browser.walk import WIDE

FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


def main() -> None:
    """Execute commands until standard input ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=FLAGS
        )
        context = browser.new_context(ignore_https_errors=True, viewport=WIDE)
        visitor = BrowserUser(context.new_page(), Path(sys.argv[1]))
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            answer = _carry_out(getattr(visitor, name), arguments)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        browser.close()


def _carry_out(order: Callable[..., object], arguments: list[object]) -> object:
    try:
        return order(*arguments)
    except Error as error:
        return {"error": str(error)}


if __name__ == "__main__":
    main()
