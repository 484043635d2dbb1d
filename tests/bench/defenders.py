"""Thousands of Defenders on one Console: connections, a storm, events.

TWISTLOCK_BENCH_DEFENDERS says how many, 10,000 if it says nothing.
"""

import asyncio
import base64
import itertools
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, quantiles

from tests.bench.defender_stage import Stage, stage
from tests.bench.light_defender import (
    FIRST_PAUSE,
    Light,
    Papers,
    issue,
    loop_of_many,
    tune,
)
from tests.bench.row import Goal, Row
from twistlock_console.defenders import event_store
from twistlock_console.protocol import Events, ProcessEvent, encode
from twistlock_console.web.list_query import indexes_of
from twistlock_console.web.lists import HOST_AUDITS

COUNT = int(os.environ.get("TWISTLOCK_BENCH_DEFENDERS", "10000"))
SENDERS = 1000
IDLE_SECONDS = 60.0
EVENT_SECONDS = 10.0
RATE = 3000
AT_ONCE = 256
TICKS = os.sysconf("SC_CLK_TCK")
PASSWORD = "Correct-horse-9-battery"


def measure(_runs: int) -> Iterator[Row]:
    """Measure all rows in one run."""
    tune()
    folder = Path(tempfile.mkdtemp(prefix="bench-papers-", dir=_memory()))
    names = [f"d{number}" for number in range(COUNT)]
    try:
        with stage() as made:
            papers = issue(made.settings.folders.certificates, folder, names)
            with asyncio.Runner(loop_factory=loop_of_many) as runner:
                yield from runner.run(_measure(made, papers, names))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(made: Stage, papers: Papers, names: list[str]) -> list[Row]:
    folder = made.settings.folders.certificates
    port = made.settings.communication_port
    lights = [Light(name) for name in names]
    with plain_server("tls", folder) as bare_port:
        bare = await _fill([Light(name) for name in names], papers, bare_port)
    with plain_server("echo", folder) as echo_port:
        echoes = await _echo_rate(papers, echo_port, names[:SENDERS])
    pid = made.defenders.pid or 0
    before = _resident(pid)
    await _fill(lights, papers, port, keep=True)
    await asyncio.sleep(3)
    each = (_resident(pid) - before) / COUNT
    idle = await _idle(pid, lights)
    rows = [
        Row("memory of a connected Defender", "KiB", [each], goal=Goal(75, 75)),
        Row(f"CPU with {COUNT} idle Defenders", "%", [idle], goal=Goal(4, 4)),
    ]
    rows += await _paced(made, lights)
    rows += await _storm(made, papers, lights, bare)
    await asyncio.sleep(10)  # the register is written: that was the storm's
    rows += await _throughput(made, lights[:SENDERS], echoes)
    for light in lights:
        light.leave()
    return rows


async def _fill(
    lights: list[Light], papers: Papers, port: int, *, keep: bool = False
) -> float:
    """Connect all, AT_ONCE at a time; gives how many in a second."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(light: Light) -> None:
        async with turns:
            await light.arrive(papers, port)

    began = time.monotonic()
    await asyncio.gather(*(one(light) for light in lights))
    rate = len(lights) / (time.monotonic() - began)
    if not keep:
        for light in lights:
            light.leave()
        await asyncio.sleep(1)
    return rate


async def _idle(pid: int, lights: list[Light]) -> float:
    """Per cent of a core that the server takes while all ping each 30 s."""
    began, spent = time.monotonic(), _cpu(pid)
    while (passed := time.monotonic() - began) < IDLE_SECONDS:
        step = max(1, round(len(lights) / 300))
        first = round(passed * 10) % 300 * step
        for light in lights[first : first + step]:
            light.ping()
        await asyncio.sleep(0.1)
    return 100 * (_cpu(pid) - spent) / (time.monotonic() - began)


async def _storm(
    made: Stage, papers: Papers, lights: list[Light], bare: float
) -> list[Row]:
    """Everybody comes back after the server's death, while somebody reads pages."""
    port = made.settings.communication_port
    loop = asyncio.get_running_loop()
    times: list[float] = []
    tasks: list[asyncio.Task[None]] = []
    done = asyncio.Event()

    async def back(light: Light) -> None:
        await asyncio.sleep(random.uniform(*FIRST_PAUSE))  # noqa: S311
        await light.arrive(papers, port)
        times.append(time.monotonic())
        if len(times) == len(lights):
            done.set()

    def lost(light: Light) -> None:
        light.lost = lambda _light: None
        tasks.append(loop.create_task(back(light)))

    for light in lights:
        light.tries, light.lost = 0, lost
    reader = Reader(made)
    await asyncio.to_thread(reader.start)
    await asyncio.to_thread(made.fail_over)
    opened = time.monotonic()
    async with asyncio.timeout(240):
        await done.wait()
    waits = await asyncio.to_thread(reader.stop)
    rate = len(lights) / (max(times) - opened)
    bins = Counter(int(at - opened) for at in times)
    peak = max(bins.values()) / mean(bins.values())
    return [
        Row(
            f"all back {max(times) - opened:.1f} s after the failover: bare TLS rate"
            f" {bare:.0f}/s through theirs {rate:.0f}/s",
            "x",
            [bare / rate],
            goal=Goal(1 / 0.65, 1 / 0.65),
        ),
        Row("peak of a second through the mean", "x", [peak], goal=Goal(3, 3)),
        Row(
            "tries of one Defender at most",
            "",
            [float(max(light.tries for light in lights))],
            goal=Goal(3, 3),
        ),
        Row("p95 of pages meanwhile", "s", [_quantile(waits, 95)], goal=Goal(0.5, 0.5)),
    ]


async def _paced(made: Stage, lights: list[Light]) -> list[Row]:
    """RATE events in a second, each from another Defender; how long until its ack.

    The baseline is a bare `insert_many` of the same documents at the same rate.
    """
    bare = await asyncio.to_thread(_bare_waits, made)
    waits: list[float] = []
    sent: dict[str, float] = {}
    for light in lights:
        light.on_message = _note_acks(light, sent, waits)
    began = time.monotonic()
    count = 0
    while (passed := time.monotonic() - began) < EVENT_SECONDS:
        while count < passed * min(RATE, 3 * COUNT):
            light = lights[count * 7919 % len(lights)]
            count += 1
            if light.name not in sent:
                sent[light.name] = time.monotonic()
                light.send(_message(light, 1))
        await asyncio.sleep(0.005)
    await asyncio.sleep(2)
    name = f"p99 of acknowledgements at {len(waits) / EVENT_SECONDS:.0f} events/s"
    waits += [PATIENCE] * len(sent)
    ours, theirs = [_quantile(waits, 99)], [_quantile(bare, 99)]
    return [Row(name, "s", ours, baseline=theirs, goal=Goal(0.06, 0.06))]


def _note_acks(
    light: Light, sent: dict[str, float], waits: list[float]
) -> Callable[[bytes], None]:
    def hear(text: bytes) -> None:
        if text.startswith(b'{"through"') and (at := sent.pop(light.name, 0)):
            waits.append(time.monotonic() - at)

    return hear


PATIENCE = 10.0


async def _throughput(made: Stage, lights: list[Light], echoes: float) -> list[Row]:
    """Events in a second, acknowledged one message after the other."""
    single = await _acknowledged(lights, 1)
    many = await _acknowledged(lights, 20)
    bare = await asyncio.to_thread(_bare_inserts, made)
    return [
        Row(
            f"bare echo {echoes:.0f}/s through 1-event messages {single:.0f}/s",
            "x",
            [echoes / single],
            goal=Goal(2, 2),
        ),
        Row(
            f"bare insert_many {bare:.0f}/s through 20-event messages {many:.0f}/s",
            "x",
            [bare / many],
            goal=Goal(2, 2),
        ),
    ]


async def _acknowledged(lights: list[Light], size: int) -> float:
    """Each sends a message of *size* events when the one before was acknowledged."""

    def begin(light: Light) -> int:
        light.send(_message(light, size))
        return size

    return await _closed_loop(lights, begin, lambda text: text.startswith(b'{"thr'))


async def _echo_rate(papers: Papers, port: int, names: list[str]) -> float:
    lights = [Light(name) for name in names]
    await _fill(lights, papers, port, keep=True)
    text = _message(lights[0], 1)

    def begin(light: Light) -> int:
        light.send(text)
        return 1

    rate = await _closed_loop(lights, begin, lambda _text: True)
    for light in lights:
        light.leave()
    return rate


async def _closed_loop(
    lights: list[Light], begin: Callable[[Light], int], counts: Callable[[bytes], bool]
) -> float:
    """Begin again at each answer that counts; gives how much in a second."""
    total = 0
    over = False

    def listen(light: Light) -> Callable[[bytes], None]:
        def hear(text: bytes) -> None:
            nonlocal total
            if counts(text) and not over:
                total += begin(light)

        return hear

    for light in lights:
        light.on_message = listen(light)
        begin(light)
    await asyncio.sleep(1)
    before, began = total, time.monotonic()
    await asyncio.sleep(EVENT_SECONDS)
    rate = (total - before) / (time.monotonic() - began)
    over = True
    await asyncio.sleep(1)
    return rate


def _message(light: Light, size: int) -> bytes:
    now = datetime.now(UTC)
    events = []
    for _ in range(size):
        light.number += 1
        events.append(
            ProcessEvent(
                number=light.number,
                time=now,
                rule="default",
                effect="alert",
                pid=4711,
                path="/usr/bin/nc.openbsd",
                name="nc.openbsd",
                command="nc -l -p 4444 -e /bin/sh",
                user="www-data",
                outcome="alerted",
            )
        )
    return encode(Events(tuple(events))).encode()


def _bare_inserts(made: Stage) -> float:
    """Documents in a second, a thousand at a time, with the same indexes."""
    began, count = time.monotonic(), 0
    with _bare_collection(made) as insert:
        while time.monotonic() - began < EVENT_SECONDS:
            insert(1000)
            count += 1000
        return count / (time.monotonic() - began)


def _bare_waits(made: Stage) -> list[float]:
    """Seconds that each document waits at RATE, always those that are due at once."""
    waits: list[float] = []
    with _bare_collection(made) as insert:
        began, count = time.monotonic(), 0
        while (passed := time.monotonic() - began) < EVENT_SECONDS:
            if due := int(passed * RATE) - count:
                insert(due)
                end = time.monotonic() - began
                waits += [end - (count + n) / RATE for n in range(due)]
                count += due
            time.sleep(0.001)
    return waits


@contextmanager
def _bare_collection(made: Stage) -> Iterator[Callable[[int], None]]:
    """Give what inserts so many documents into a collection that is dropped."""
    collection = made.database["bench_events"]
    collection.create_indexes([*indexes_of(HOST_AUDITS), *event_store.INDEXES])
    light = Light("bare")
    events = json.loads(_message(light, 500))["events"]
    numbers = itertools.count()

    def insert(count: int) -> None:
        now = datetime.now(UTC)
        wave = [
            {
                **events[n % len(events)],
                "_id": f"bare/{next(numbers)}",
                "defender": "bare",
                "received": now,
                "time": now,
            }
            for n in range(count)
        ]
        collection.insert_many(wave, ordered=False)

    try:
        yield insert
    finally:
        collection.drop()


class Reader:
    """An administrator who looks at the Defenders ten times a second."""

    def __init__(self, made: Stage) -> None:
        self._base = f"https://127.0.0.1:{made.settings.management_port_https}/api/v1"
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self._ended = threading.Event()
        self._waits: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Sign up and begin."""
        body = json.dumps({"username": "admin", "password": PASSWORD}).encode()
        self._ask("/signup", body)
        self._ask("/defenders")
        self._thread.start()

    def stop(self) -> list[float]:
        """Give the seconds that each look took."""
        self._ended.set()
        self._thread.join(30)
        return self._waits

    def _run(self) -> None:
        while not self._ended.wait(0.1):
            began = time.monotonic()
            # While no node serves the port refuses: that is another row's business.
            with suppress(urllib.error.URLError):
                self._ask("/defenders?limit=50")
                self._waits.append(time.monotonic() - began)

    def _ask(self, path: str, body: bytes | None = None) -> None:
        basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"}
        if body:
            headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(self._base + path, body, headers)  # noqa: S310
        urllib.request.urlopen(asked, context=self._tls, timeout=30).read()  # noqa: S310


@contextmanager
def plain_server(kind: str, folder: Path) -> Iterator[int]:
    """Run one of the servers to compare with; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = int(holder.getsockname()[1])
    arguments = ["-m", "tests.bench.plain_servers", kind, str(folder), str(port)]
    process = subprocess.Popen([sys.executable, *arguments])
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


def _resident(pid: int) -> float:
    """KiB of a process that are in memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return float(text.split("VmRSS:")[1].split()[0])


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has spent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _quantile(values: list[float], per_cent: int) -> float:
    return quantiles(values, n=100)[per_cent - 1] if len(values) > 1 else PATIENCE


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
