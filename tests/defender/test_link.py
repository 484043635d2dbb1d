"""The Defender's link, against a websocket server with our certificates."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from twistlock_console.certificates import (
    Usage,
    create_authority,
    issue_node_certificate,
    make_key,
    make_request,
    server_context,
    sign_request,
)
from twistlock_console.protocol import (
    ConsoleHello,
    DefenderHello,
    decode_from_defender,
    encode,
)
from twistlock_defender.cli import main
from twistlock_defender.epoch import HighestEpoch
from twistlock_defender.link import Link

NAME = "agent-1"


@pytest.fixture
def console(tmp_path: Path) -> Path:
    """A Console's certificates."""
    folder = tmp_path / "console"
    folder.mkdir()
    create_authority(folder)
    issue_node_certificate(folder, ["127.0.0.1", "localhost"])
    return folder


@pytest.fixture
def papers(tmp_path: Path, console: Path) -> Path:
    """A Defender's folder."""
    folder = tmp_path / "defender"
    folder.mkdir()
    make_key(folder / "key.pem")
    request = make_request(folder / "key.pem", NAME)
    signed = sign_request(
        console, request, usage=Usage.DEFENDER, common_name=NAME, names=[NAME]
    )
    (folder / "certificate.pem").write_bytes(signed)
    (folder / "ca.pem").write_bytes((console / "ca.pem").read_bytes())
    return folder


class FakeConsole:
    """Greets with *epoch*, and notes the hellos that come back."""

    def __init__(self, folder: Path, epoch: int) -> None:
        self._tls = server_context(folder, client=Usage.DEFENDER)
        self._epoch = epoch
        self.hellos: list[DefenderHello] = []

    async def open(self) -> Server:
        """Listen on a free port."""
        return await serve(self._greet, "127.0.0.1", 0, ssl=self._tls)

    async def _greet(self, connection: ServerConnection) -> None:
        await connection.send(encode(ConsoleHello(self._epoch, "26.11.1")))
        async for frame in connection:
            hello = decode_from_defender(frame)
            assert isinstance(hello, DefenderHello)
            self.hellos.append(hello)


def told(papers: Path) -> dict[str, object]:
    """What `status` would show."""
    try:
        return dict(json.loads((papers / "status.json").read_text()))
    except FileNotFoundError:
        return {}


async def run_until(link: Link, papers: Path, key: str) -> dict[str, object]:
    """Run the link until its status has *key*."""
    running = asyncio.create_task(link.run())
    async with asyncio.timeout(20):
        while not told(papers).get(key):
            await asyncio.sleep(0.02)
    running.cancel()
    return told(papers)


def address(server: Server) -> str:
    """Where *server* listens."""
    return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextmanager
def nowhere() -> Iterator[str]:
    """An address where nobody answers."""
    yield "127.0.0.1:9"


def test_it_finds_the_console_that_serves(console: Path, papers: Path) -> None:
    """A dead first address does not keep it from the second."""
    fake = FakeConsole(console, epoch=7)

    async def scene() -> dict[str, object]:
        async with await fake.open() as server:
            with nowhere() as dead:
                link = Link(NAME, "26.11.1", [dead, address(server)], papers)
                return await run_until(link, papers, "connected")

    status = asyncio.run(scene())

    assert status["epoch"] == 7
    assert HighestEpoch(papers / "epoch").value == 7
    assert main(["status", "--folder", str(papers)]) == 0


def test_it_never_obeys_a_console_of_an_earlier_epoch(
    console: Path, papers: Path
) -> None:
    """Not after a restart either: an old primary may not know that it is over."""
    assert HighestEpoch(papers / "epoch").admits(9)
    fake = FakeConsole(console, epoch=8)

    async def scene() -> dict[str, object]:
        async with await fake.open() as server:
            link = Link(NAME, "26.11.1", [address(server)], papers)
            return await run_until(link, papers, "error")

    status = asyncio.run(scene())

    assert "epoch 8, which is over" in str(status["error"])
    assert status["connected"] is None
    assert fake.hellos == []


def test_missing_papers_are_told_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1 and the folder is named."""
    code = main(["run", "127.0.0.1:8084", "--name", NAME, "--folder", str(tmp_path)])

    assert code == 1
    assert str(tmp_path) in capsys.readouterr().err
