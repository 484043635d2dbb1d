"""Pages and lists of a Console that stores much, against one that stores little.

Two nodes on two test hosts are asked in turn, so that what else happens on this
machine slows both down.
"""

import json
import re
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from statistics import median
from typing import Self

import urllib3

from tests.bench.row import Goal, Row
from tests.hosts.console_api import PASSWORD, USERNAME
from tests.hosts.laboratory import Laboratory
from tests.hosts.node import HostedNode
from tests.hosts.waiting import wait_for
from twistlock_console.common.clock import SECOND, boottime_ns

LITTLE = {"history": 1_000, "defenders": 1_000, "events": 1_000}
MUCH = {"history": 200_000, "defenders": 10_000, "events": 1_000_000}
SLOWEST = 1.5
#: What gives or counts all that is stored, at once; a plot comes after its page. All
#: else gives 50 at most, and both nodes have so many of each: a row takes its time.
WHOLE = ("/defenders/names", "?plot=true")
WARM = 5
FILL_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Reader:
    """A browser that is logged in, and at the same time a program with a password."""

    pool: urllib3.HTTPSConnectionPool
    cookie: dict[str, str]

    @classmethod
    def log_in(cls, node: HostedNode) -> Self:
        """Sign up on a node that nobody has used yet."""
        authority = node.settings.folders.certificates / "ca.pem"
        pool = urllib3.HTTPSConnectionPool(
            node.address,
            8083,
            ssl_context=ssl.create_default_context(cafile=str(authority)),
            timeout=urllib3.Timeout(connect=2, read=20),
            # A machine that is too busy may close the ports of a node for a moment.
            retries=urllib3.Retry(
                5, redirect=0, backoff_factor=0.5, raise_on_redirect=False
            ),
            maxsize=1,
        )
        form = pool.request("GET", "/signup")
        token = re.search(r'name="csrf_token" value="([^"]+)"', form.data.decode())
        assert token is not None
        fields = {"csrf_token": token[1], "username": USERNAME}
        answer = pool.request(
            "POST",
            "/signup",
            fields={**fields, "password": PASSWORD, "repeated": PASSWORD},
            headers={
                "Cookie": form.headers["Set-Cookie"].partition(";")[0],
                "Referer": f"https://{node.address}:8083/signup",
            },
            encode_multipart=False,
        )
        assert answer.status == 303, answer.status
        given = answer.headers.getlist("Set-Cookie")
        cookies = "; ".join(each.partition(";")[0] for each in given)
        return cls(pool, {"Cookie": cookies})

    def get(self, path: str) -> str:
        """Open a page, or call the API."""
        basic = urllib3.make_headers(basic_auth=f"{USERNAME}:{PASSWORD}")
        headers = basic if path.startswith("/api/") else self.cookie
        answer = self.pool.request("GET", path, headers=headers)
        assert answer.status == 200, (path, answer.status, answer.data[:300])
        return answer.data.decode()

    def time(self, path: str) -> float:
        """Milliseconds that the answer takes."""
        began = boottime_ns()
        self.get(path)
        return (boottime_ns() - began) / SECOND * 1000


def measure(runs: int) -> Iterator[Row]:
    """Give a row for each page and each API call."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Laboratory(Path(folder)) as laboratory,
        ExitStack() as stack,
    ):
        client = laboratory.host("client")
        nodes = [
            HostedNode(laboratory.host(n), client, **_keys()) for n in ("h1", "h2")
        ]
        for node in nodes:
            node.start()
        for node in nodes:
            wait_for(lambda n=node: _serves(n), 60, "the node to serve", every=0.2)
        _fill(nodes)
        stack.enter_context(client.network())
        little, much = (Reader.log_in(node) for node in nodes)
        for path in _paths(much):
            yield _row(path, little, much, 3 * runs)


def _row(path: str, little: Reader, much: Reader, runs: int) -> Row:
    small, large = [], []
    for place in range(WARM + runs):
        times = little.time(path), much.time(path)
        if place >= WARM:
            small.append(times[0])
            large.append(times[1])
    goal = Goal(round(SLOWEST * median(small), 1), float("inf"))
    if path.endswith(WHOLE):
        return Row(path, "ms", large, baseline=small)
    return Row(path, "ms", large, baseline=small, goal=goal)


def _paths(reader: Reader) -> list[str]:
    """Every page of the menu in every order, narrowed too; every call of the API."""
    pages = dict.fromkeys(["/manage/logs/history"])
    seen: list[str] = []
    while left := [page for page in pages if page not in seen]:
        seen.append(left[0])
        text = reader.get(left[0])
        for part in re.findall(
            r'<nav class="side".*?</nav>|<ul class="tabs".*?</ul>', text, re.DOTALL
        ):
            pages.update(dict.fromkeys(re.findall(r'href="(/[^"?]*[^"?/])"', part)))
    variants = [v for page in seen for v in _variants(page, reader.get(page))]
    described = json.loads(reader.get("/api/v1/openapi.json"))["paths"]
    calls = [path for path, kinds in described.items() if "get" in kinds]
    plain = [p for p in calls if "{" not in p and not _is_file(p)]
    return variants + [p for p in plain if _answers(reader, p)]


def _variants(page: str, text: str) -> Iterator[str]:
    yield page
    orders = re.findall(r'<th scope="col"[^>]*><a href="(\?[^"]+)"', text)
    yield from (page + unescape(order) for order in orders)
    if 'type="search" name="search"' in text:
        yield f"{page}?search=web"
        yield f"{page}?search=user01"
    for name, value in re.findall(
        r'<select name="(\w+)">\s*<option value="">[^<]*</option>\s*'
        r'<option value="([^"]+)"',
        text,
    ):
        yield f"{page}?{name}={value}"
    if 'rel="next"' in text:
        yield f"{page}?offset=200"
    if 'id="plot"' in text:
        yield f"{page}?plot=true"


def _is_file(path: str) -> bool:
    return path.endswith(("/download", ".sh", ".gz", "/_ping")) or "/images/" in path


def _answers(reader: Reader, path: str) -> bool:
    try:
        reader.get(path)
    except (AssertionError, UnicodeDecodeError):
        return False  # what is switched off, or is no list
    return True


def _keys() -> dict[str, str]:
    return {"HIGH_AVAILABILITY_STATE": "PRIMARY", "DATABASE_CACHE_GB": "1"}


def _serves(node: HostedNode) -> bool:
    return bool(node.try_ask("/v1/status").get("serving"))


def _fill(nodes: list[HostedNode]) -> None:
    programs = [_filling(*each) for each in zip(nodes, (LITTLE, MUCH), strict=True)]
    for program in programs:
        assert program.wait(FILL_SECONDS) == 0, "the database could not be filled"


def _filling(node: HostedNode, wanted: dict[str, int]) -> subprocess.Popen[bytes]:
    config = str(node.host.folder / "twistlock.cfg")
    counts = [f"--{what}={count}" for what, count in wanted.items()]
    return node.host.start(sys.executable, "-m", "tests.filling", config, *counts)
