"""Has actions carried out on workers, and tells the keeper what came of them.

Three workers, one kind of thing each: so a database that hangs never keeps a port
open, nor a slow port a lease unrenewed.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from plugins.ha.consensus import actions as do
from plugins.ha.consensus.observation import Update
from plugins.ha.controller.election_actions import StepWork
from plugins.ha.controller.lease_actions import LeaseWork
from plugins.ha.controller.port_actions import PortWork
from twistlock_console.system.child_processes import give_up


class Performer:
    """Performs actions with *lease*, *ports* and *steps*, a worker thread each."""

    def __init__(self, lease: LeaseWork, ports: PortWork, steps: StepWork) -> None:
        self._lease = lease
        self._ports = ports
        self._steps = steps
        self._lease_worker = ThreadPoolExecutor(1, "lease")
        self._port_worker = ThreadPoolExecutor(1, "ports")
        self._step_worker = ThreadPoolExecutor(1, "steps")

    def perform(self, action: do.Action, post: Callable[[Update], None]) -> None:
        """Have *action* done on its worker; *post* gets what came of it."""

        def run() -> None:
            try:
                post(self._do(action))
            except Exception:
                # What it was about would be under way for ever; a fresh start is
                # sooner over, and another node takes over meanwhile.
                give_up(f"{action} ended in an error nobody foresaw")

        self._worker(action).submit(run)

    def stop(self) -> None:
        """Take no more work; what runs is not waited for."""
        for worker in (self._lease_worker, self._port_worker, self._step_worker):
            worker.shutdown(wait=False, cancel_futures=True)

    def _worker(self, action: do.Action) -> ThreadPoolExecutor:
        match action:
            case do.OpenPorts() | do.ReopenServers() | do.ClosePorts():
                return self._port_worker
            case do.StepDown() | do.StepUp() | do.HandOver():
                return self._step_worker
            case _:
                return self._lease_worker

    def _do(self, action: do.Action) -> Update:  # noqa: C901, PLR0911  a table
        match action:
            case do.ReadLease():
                return self._lease.read()
            case do.TakeLease(expected):
                return self._lease.take(expected)
            case do.RenewLease(expected):
                return self._lease.renew(expected)
            case do.ReleaseLease(expected):
                return self._lease.release(expected)
            case do.OpenPorts():
                return self._ports.open()
            case do.ReopenServers():
                return self._ports.reopen()
            case do.ClosePorts(drain):
                return self._ports.close(drain=drain)
            case do.HandOver(expected, target):
                self._lease.release(expected)
                return self._steps.down(target)
            case do.StepDown():
                return self._steps.down(None)
            case do.StepUp():
                return self._steps.up()
            case do.DropLease():
                return lambda seen: seen
