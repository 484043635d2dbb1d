"""The Defender's link, against a websocket server with our certificates."""

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.defender.fake_console import FakeConsole, until
from tests.hosts.pace import Pace
from tests.system.defender.conftest import NAME
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.protocol import (
    UNNUMBERED,
    CertificateRenewed,
    DefenderHello,
    Goodbye,
    PolicyPushed,
    RenewalRequested,
    Scan,
    TroubleEvent,
)
from twistlock_defender.common.clock import boottime
from twistlock_defender.common.folder import Folder
from twistlock_defender.link.backoff import MIN_SILENCE_TIMEOUT_S
from twistlock_defender.link.client import Link
from twistlock_defender.link.connection import PING_AFTER_SILENCE_S, HighestEpoch
from twistlock_defender.link.outbox import Outbox

PUSHED = PolicyPushed(3, "abc", None)


class Duty:
    """Notes its orders."""

    def __init__(self) -> None:
        self.orders: list[PolicyPushed | Scan | CertificateRenewed] = []
        self.renews: RenewalRequested | None = None
        self.left_aside: list[str] = []

    def create_hello(self) -> DefenderHello:
        """Who we are."""
        return DefenderHello(NAME, "26.11.1")

    def create_renewal_request(self) -> RenewalRequested | None:
        """Ask as the test says."""
        return self.renews

    def handle_command(self, command: PolicyPushed | Scan | CertificateRenewed) -> None:
        """Note it."""
        self.orders.append(command)

    def report_malformed(self, sentence: str) -> None:
        """Note it."""
        self.left_aside.append(sentence)


class Scene:
    """A Defender's link at work."""

    def __init__(self, folder: Folder, *addresses: str) -> None:
        self.duty = Duty()
        self.outbox = Outbox(folder / "outbox.db", 1 << 24)
        epochs = HighestEpoch(folder / "epoch")
        self.link = Link(
            addresses, folder.create_tls_context, epochs, self.duty, self.outbox
        )

    def find(self, *sentences: str) -> None:
        """Have findings to send."""
        now = datetime.now(UTC)
        self.outbox.report([TroubleEvent(UNNUMBERED, now, each) for each in sentences])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the link meanwhile."""
        running = asyncio.create_task(self.link.run())
        try:
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            self.outbox.close()

    @property
    def connected(self) -> str | None:
        """Whom it is connected to."""
        return self.link.state.connected


def play(scene: Coroutine[Any, Any, None]) -> None:
    """Run *scene* to its end."""
    asyncio.run(scene)


def sentences(console: FakeConsole) -> list[str]:
    """What it was told, each number once."""
    once = {e.number: e for e in console.events if isinstance(e, TroubleEvent)}
    return [event.sentence for event in once.values()]


@contextmanager
def mute() -> Iterator[str]:
    """The address of a host that accepts connections and never answers: frozen."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_it_finds_the_console_that_serves(console: Path, folder: Folder) -> None:
    """Neither a dead address nor a frozen host keeps it from the right one."""

    async def scene() -> None:
        fake = FakeConsole(console, 7)
        with mute() as frozen:
            async with fake.open() as serving:
                scene = Scene(folder, "127.0.0.1:9", frozen, serving)
                async with scene.running():
                    with Pace() as pace:
                        began = boottime()
                        await until(lambda: fake.hellos, "a hello")
                        seconds = boottime() - began
                    assert seconds < pace.limit(5)
                    assert scene.connected == serving

    play(scene())
    assert HighestEpoch(folder / "epoch").value == 7


def test_it_never_obeys_a_console_of_an_earlier_epoch(
    console: Path, folder: Folder
) -> None:
    """Not after a restart either: an old primary may not know that it is over."""
    assert HighestEpoch(folder / "epoch").accept(9)

    async def scene() -> None:
        old, new = FakeConsole(console, 8, PUSHED, Scan()), FakeConsole(console, 9)
        async with old.open() as stale, new.open() as serving:
            scene = Scene(folder, stale)
            scene.find("a secret of this epoch")
            async with scene.running():
                await until(lambda: scene.link.state.error, "an error")
                await until(lambda: len(old.connections) > 1, "a second try")
                assert "epoch 8, which is outdated" in str(scene.link.state.error)
                assert (scene.connected, scene.duty.orders) == (None, [])
            scene = Scene(folder, stale, serving)
            async with scene.running():
                await until(lambda: sentences(new), "findings")
        assert (old.hellos, old.events) == ([], [])

    play(scene())


def test_findings_are_sent_again_until_they_are_acknowledged(
    console: Path, folder: Folder
) -> None:
    """In order, from the first that was not; and then they are gone from the disk."""

    async def scene() -> None:
        fake = FakeConsole(console)
        fake.acknowledging = False
        async with fake.open() as serving:
            scene = Scene(folder, serving)
            scene.find(*map(str, range(1200)))
            async with scene.running():
                await until(lambda: len(fake.events) == 1200, "all findings")
                assert scene.outbox.state().count == 1200
                fake.acknowledging = True
                fake.connections[-1].transport.abort()
                await until(lambda: len(fake.events) == 2400, "all of them again")
                scene.find("one more")
                await until(lambda: not scene.outbox.state().count, "an empty outbox")
        assert max(map(len, fake.messages)) <= 500
        assert sentences(fake) == [*map(str, range(1200)), "one more"]

    play(scene())


def test_orders_are_obeyed_and_broken_ones_left_aside(
    console: Path, folder: Folder
) -> None:
    """A message that cannot be read neither ends the connection nor is it obeyed."""

    async def scene() -> None:
        fake = FakeConsole(console, 7, PUSHED)
        async with fake.open() as serving:
            scene = Scene(folder, serving)
            async with scene.running():
                await until(lambda: scene.duty.orders, "a policy")
                bad = '{"type":"policy","version":4,"hash":"x","rule":{"name":""}}'
                await fake.connections[0].send(bad)
                await fake.connections[0].send('{"type":"scan"}')
                await until(lambda: len(scene.duty.orders) == 2, "a scan")
        assert scene.duty.orders == [PUSHED, Scan()]
        assert "was ignored: malformed message (policy.rule" in scene.duty.left_aside[0]
        assert len(fake.connections) == 1

    play(scene())


def test_it_stays_away_as_long_as_it_was_asked_to(
    console: Path, folder: Folder
) -> None:
    """Who says goodbye says when to come back; why it broke off is still told."""

    async def scene() -> None:
        fake = FakeConsole(console, 7, Goodbye(1500, 100))
        async with fake.open() as serving:
            scene = Scene(folder, serving)
            async with scene.running():
                await until(lambda: fake.hellos, "a hello")
                began = boottime()
                await fake.connections[0].close(1012, "this Console stops serving")
                await until(lambda: scene.link.state.error, "the end")
                fake.pushes.clear()
                await until(lambda: len(fake.hellos) == 2, "its return")
        assert boottime() - began >= 1.5
        assert "this Console stops serving" in str(scene.link.state.error)

    play(scene())


def test_a_console_that_falls_silent_is_left(console: Path, folder: Folder) -> None:
    """Though its host still takes what we send; one that is merely slow is not."""

    async def scene() -> None:
        fake = FakeConsole(console)
        fake.acknowledging = False
        async with fake.open() as serving:
            scene = Scene(folder, serving)
            async with scene.running():
                scene.find("never acknowledged")
                await until(lambda: fake.events, "a finding")
                await asyncio.sleep(MIN_SILENCE_TIMEOUT_S + 0.5)
                assert scene.connected == serving
                # What was asked meanwhile was answered, and yet it waits.
                fake.connections[0].transport.pause_reading()
                await until(
                    lambda: not scene.connected, "the end", PING_AFTER_SILENCE_S / 2
                )
                assert "silent for 3 s" in str(scene.link.state.error)

    play(scene())


def test_a_stranger_is_not_taken_for_the_console(
    console: Path, folder: Folder, tmp_path: Path
) -> None:
    """Its certificate is not of our authority, or for another name."""
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    create_authority(stranger)
    issue_node_certificate(stranger, ["127.0.0.1"])
    issue_node_certificate(console, ["localhost"])

    async def scene(fake: FakeConsole) -> str:
        async with fake.open() as serving:
            scene = Scene(folder, serving)
            async with scene.running():
                await until(lambda: scene.link.state.error, "an error")
        assert fake.hellos == []
        return str(scene.link.state.error)

    other, named = (asyncio.run(scene(FakeConsole(f))) for f in (stranger, console))
    issue_node_certificate(console, ["127.0.0.1", "localhost"])
    assert "its certificate is not accepted: self-signed" in other
    assert "its certificate is not accepted: IP address mismatch" in named


def test_without_papers_it_says_what_to_do(console: Path, folder: Folder) -> None:
    """And tries on: they may come."""
    papers = (folder / "certificate.pem").read_bytes()
    (folder / "certificate.pem").unlink()

    async def scene() -> None:
        fake = FakeConsole(console)
        async with fake.open() as serving:
            scene = Scene(folder, serving)
            async with scene.running():
                await until(lambda: scene.link.state.error, "an error")
                assert "enrol it with the command" in str(scene.link.state.error)
                (folder / "certificate.pem").write_bytes(papers)
                await until(lambda: scene.connected, "a connection")

    play(scene())


def test_a_name_that_cannot_be_resolved_is_told(console: Path, folder: Folder) -> None:
    """The other names are used all the same."""

    async def scene() -> None:
        fake = FakeConsole(console)
        async with fake.open() as serving:
            scene = Scene(folder, "console.invalid:8084", serving)
            async with scene.running():
                await until(lambda: scene.connected, "a connection")
                assert scene.link.name_problem is not None
                assert "console.invalid cannot be resolved" in scene.link.name_problem

    play(scene())
