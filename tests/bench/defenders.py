"""Thousands of Defenders on one Console: connections, a storm, events.

TWISTLOCK_BENCH_DEFENDERS says how many, 10,000 if it says nothing.
"""

import asyncio
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, quantiles

import uvloop

from tests.bench.bare_inserts import insert_rate, insert_waits
from tests.bench.defender_stage import Stage, stage
from tests.bench.findings import message
from tests.bench.light_defender import (
    FIRST_PAUSE,
    Light,
    Papers,
    issue,
    tune,
)
from tests.bench.page_reader import Reader
from tests.bench.row import Goal, Row
from tests.bench.running_servers import plain_server

COUNT = int(os.environ.get("TWISTLOCK_BENCH_DEFENDERS", "10000"))
SENDERS = 1000
IDLE_SECONDS = 60.0
EVENT_SECONDS = 10.0
RATE = 3000
AT_ONCE = 256
TICKS = os.sysconf("SC_CLK_TCK")


def measure(_runs: int) -> Iterator[Row]:
    """Measure all rows in one run."""
    tune()
    folder = Path(tempfile.mkdtemp(prefix="bench-papers-", dir=_memory()))
    names = [f"d{number}" for number in range(COUNT)]
    try:
        with stage() as made:
            papers = issue(made.settings.folders.certificates, folder, names)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                yield from runner.run(_measure(made, papers, names))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(made: Stage, papers: Papers, names: list[str]) -> list[Row]:
    folder = made.settings.folders.certificates
    port = made.settings.communication_port
    lights = [Light(name) for name in names]
    with plain_server("tls", folder) as bare_port:
        bare = await _fill([Light(name) for name in names], papers, bare_port)
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
    # Beside what it is compared with: the storm leaves this machine slower than before.
    with plain_server("echo", folder) as echo_port:
        echoes = await _echo_rate(papers, echo_port, names[:SENDERS])
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
    bare = await asyncio.to_thread(insert_waits, made, RATE, EVENT_SECONDS)
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
                light.send(message(light, 1))
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
    bare = await asyncio.to_thread(insert_rate, made, EVENT_SECONDS)
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
        light.send(message(light, size))
        return size

    return await _closed_loop(lights, begin, lambda text: text.startswith(b'{"thr'))


async def _echo_rate(papers: Papers, port: int, names: list[str]) -> float:
    lights = [Light(name) for name in names]
    await _fill(lights, papers, port, keep=True)
    text = message(lights[0], 1)

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
