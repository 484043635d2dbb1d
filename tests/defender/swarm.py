"""Many light Defenders in one process: real links and outboxes, nothing to enforce.

Each finds something at a steady rate until standard input is closed; then the
program waits until everything is acknowledged, and prints how many each has found.
"""

import argparse
import asyncio
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from twistlock_console.protocol import (
    UNNUMBERED,
    CertificateRenewed,
    DefenderHello,
    PolicyPushed,
    Scan,
    TroubleEvent,
)
from twistlock_defender.common.clock import boottime
from twistlock_defender.common.folder import Folder
from twistlock_defender.link.client import Link
from twistlock_defender.link.connection import HighestEpoch
from twistlock_defender.link.outbox import Outbox

#: All write to disk with one processor, where each host would have its own.
EVERY_SECONDS = 0.5
ACKNOWLEDGED_SECONDS = 60
OUTBOX_BYTES = 64 * 1024 * 1024
log = logging.getLogger(__name__)


class LightDefender:
    """The Defender whose papers are in *folder*; notes each of its connections."""

    def __init__(self, folder: Folder, addresses: list[str], notes: TextIO) -> None:
        self.name = folder.path.name
        self.found = 0
        self._notes = notes
        self.outbox = Outbox(folder / "outbox.db", OUTBOX_BYTES)
        epochs = HighestEpoch(folder / "epoch")
        tls = folder.create_tls_context()
        self.link = Link(addresses, lambda: tls, epochs, self, self.outbox)

    async def find(self, rate: float, stop: asyncio.Event) -> None:
        """Find *rate* things a second, until *stop*."""
        every = max(EVERY_SECONDS, 1 / rate)
        each = round(rate * every)
        due = boottime()
        while not stop.is_set():
            numbers = range(self.found, self.found + each)
            now = datetime.now(UTC)
            events = [TroubleEvent(UNNUMBERED, now, str(each)) for each in numbers]
            await asyncio.to_thread(self.outbox.report, events)
            self.found += each
            due += every
            await wait_until(due, stop)

    def create_hello(self) -> DefenderHello:
        """Who we are; a Console has taken us in."""
        note = [self.name, self.link.state.epoch, boottime()]
        self._notes.write(json.dumps(note) + "\n")
        return DefenderHello(self.name, "26.11.1")

    def create_renewal_request(self) -> None:
        """Its certificate is new."""

    def handle_command(self, command: PolicyPushed | Scan | CertificateRenewed) -> None:
        """There is nothing to enforce."""

    def report_malformed(self, sentence: str) -> None:
        """Say so."""
        log.error("%s", sentence)


async def wait_until(due: float, stop: asyncio.Event) -> None:
    """Wait until the clock of boot time says *due*, or for *stop*."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), max(0.0, due - boottime()))


async def run(defenders: list[LightDefender], rate: float) -> None:
    """Run all until standard input is closed and everything is acknowledged."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Each real Defender has threads of its own.
    loop.set_default_executor(ThreadPoolExecutor(32))
    loop.add_reader(sys.stdin, stop.set)
    links = [asyncio.create_task(each.link.run()) for each in defenders]
    await asyncio.gather(*(each.find(rate, stop) for each in defenders))
    loop.remove_reader(sys.stdin)
    async with asyncio.timeout(ACKNOWLEDGED_SECONDS):
        while any(each.outbox.state().count for each in defenders):
            await asyncio.sleep(0.1)
    for link in links:
        link.cancel()
    await asyncio.gather(*links, return_exceptions=True)


def main() -> None:
    """Run the Defenders whose folders are given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--addresses", nargs="+", required=True)
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    with options.notes.open("w", buffering=1) as notes:
        defenders = [
            LightDefender(Folder(path), options.addresses, notes)
            for path in options.folders
        ]
        asyncio.run(run(defenders, options.rate))
    sys.stdout.write(json.dumps({each.name: each.found for each in defenders}))


if __name__ == "__main__":
    main()
