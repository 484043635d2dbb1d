"""A pool of threads that run requests, behind a fair queue.

Only the main loop calls the pool; the threads return results over a queue and wake
it. A thread is started when it is first needed. The threads are daemons: none of them
delays the end of the process.
"""

import queue
import threading
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial

from twistlock_console.servers.management.client_bounds import QueueLimits, RequestQueue

Finish = Callable[[], object]


@dataclass(slots=True)
class PoolJob:
    """Work for a thread; *done* gets its result, on the main loop.

    A job that is *cancelled* before a thread takes it is not run.
    """

    run: Callable[[], object]
    done: Callable[[object], object]
    cancelled: bool = False
    started: bool = False


class RequestPool:
    """Runs jobs of clients on *threads* threads; *wake* wakes the main loop."""

    def __init__(
        self,
        threads: int,
        limits: QueueLimits,
        exempt: Container[str],
        wake: Callable[[], object],
    ) -> None:
        self.threads = threads
        self.busy = 0
        self._queue: RequestQueue[PoolJob] = RequestQueue(limits, exempt)
        self._wake = wake
        self._taken: queue.SimpleQueue[tuple[str, PoolJob] | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[Finish] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    @property
    def waiting(self) -> int:
        """Return how many jobs wait for a thread."""
        return len(self._queue)

    def offer(self, key: str, job: PoolJob) -> bool:
        """Queue *job* of the client *key*; return False if too many wait already."""
        if not self._queue.offer(key, job):
            return False
        self._dispatch()
        return True

    def resume(self, key: str, job: PoolJob) -> None:
        """Queue *job* regardless of limits: it continues a request that was started."""
        self._queue.push(key, job)
        self._dispatch()

    def collect(self) -> None:
        """Deliver the results of finished jobs, and start waiting ones."""
        while True:
            try:
                finish = self._finished.get_nowait()
            except queue.Empty:
                break
            finish()
        self._dispatch()

    def close(self) -> None:
        """Stop the threads; wait until they have finished their jobs."""
        for _ in self._threads:
            self._taken.put(None)
        for thread in self._threads:
            thread.join()

    def _dispatch(self) -> None:
        while self.busy < self.threads and (taken := self._queue.take()):
            key, job = taken
            if job.cancelled:
                self._queue.finish(key)
                continue
            job.started = True
            self.busy += 1
            if self.busy > len(self._threads):
                self._start_thread()
            self._taken.put((key, job))

    def _start_thread(self) -> None:
        name = f"request-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        while taken := self._taken.get():
            key, job = taken
            result = job.run()
            self._finished.put(partial(self._finish, key, job, result))
            self._wake()

    def _finish(self, key: str, job: PoolJob, result: object) -> None:
        self.busy -= 1
        self._queue.finish(key)
        job.done(result)
