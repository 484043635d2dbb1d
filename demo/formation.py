"""Form a cluster of the three nodes, by the same calls as a user makes."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from demo.cluster import Cluster
from demo.console_api import ConsoleApi
from demo.events import HTTPS_PORT, NODES
from demo.state import DemoState, new_password
from plugins.ha.membership.join_client import JoinInvitation
from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError, DatabaseError
from twistlock_console.database.client import connect, credentials_for

FIRST, *JOINING = NODES
API = "/api/v1/high-availability"
FORMATION_TIMEOUT_S = 85.0
POLL_INTERVAL_S = 0.1
HEALTHY_STATES = ["PRIMARY", "SECONDARY", "SECONDARY"]


class Formation:
    """Forms the *cluster*; *pause* waits some seconds, *tell* reports each step."""

    def __init__(
        self,
        cluster: Cluster,
        state: DemoState,
        pause: Callable[[float], None],
        tell: Callable[[str], None],
    ) -> None:
        self._nodes = cluster.nodes
        self._state = state
        self._pause = pause
        self._tell = tell

    def form(self) -> str:
        """Form a new cluster; return the administrator's password when all nodes vote.

        Raises:
            ConsoleError: It takes longer than FORMATION_TIMEOUT_S.
        """
        password = new_password()
        self._tell(f"starting the first node on {FIRST}")
        self._nodes[FIRST].start()
        folders = self._state.settings(FIRST).folders
        self._wait_until(lambda: (folders.certificates / "ca.pem").exists())
        self._copy_authority()
        api = ConsoleApi([FIRST], self._state.ca_file, password)
        try:
            self._wait_until(api.is_serving)
            self._tell("signing up, and inviting the other two")
            api.sign_up()
            for address in JOINING:
                self._invite(address, api)
            self._wait_until(lambda: bool(api.get(API, seconds=5.0)["applyReady"]))
            self._tell("both ask to join; applying")
            api.post(f"{API}/apply", seconds=10.0)
        finally:
            api.close()
        self._wait_until(self._all_vote)
        self._wait_until(self._is_config_committed)
        self._state.save_password(password)
        return password

    def resume(self) -> str:
        """Start the cluster of an earlier demo; return its password."""
        self._tell("starting the three nodes of the earlier demo")
        for node in self._nodes.values():
            node.start()
        self._wait_until(self._all_vote)
        password = self._state.password()
        api = ConsoleApi(NODES, self._state.ca_file, password)
        try:
            self._wait_until(api.is_serving)
        finally:
            api.close()
        return password

    def _copy_authority(self) -> None:
        source = self._state.settings(FIRST).folders.certificates / "ca.pem"
        self._state.ca_file.write_bytes(source.read_bytes())

    def _invite(self, address: str, api: ConsoleApi) -> None:
        """Do what the join command does on a new host: write the invitation, start."""
        made = api.post(f"{API}/join-token", seconds=10.0)
        pin = re.search(r"sha256//[^']+", made["command"])
        if pin is None:
            raise ConsoleError("The join command names no key of the Console.")
        folders = self._state.settings(address).folders
        folders.create()
        invitation = JoinInvitation(FIRST, HTTPS_PORT, pin[0], made["token"])
        invitation.write(folders)
        self._nodes[address].start()

    def _all_vote(self) -> bool:
        """Return whether three members vote and are up to date."""
        with self._set_of_first() as replica_set:
            try:
                config, status = replica_set.config(), replica_set.status()
            except DatabaseError:
                return False
        voters = [member for member in config["members"] if member["votes"]]
        states = sorted(member.state for member in status.members)
        return len(voters) == len(NODES) and states == HEALTHY_STATES

    def _is_config_committed(self) -> bool:
        """Return whether a majority has the configuration in which all three vote.

        Before that, a failure of the first node would leave two that do not vote.
        """
        with self._set_of_first() as replica_set:
            return replica_set.is_config_committed()

    @contextmanager
    def _set_of_first(self) -> Iterator[ReplicaSet]:
        settings = self._state.settings(FIRST)
        login = credentials_for(settings, "cluster")
        with connect(settings, login, app_name="twistlock-demo") as client:
            yield ReplicaSet(client)

    def _wait_until(self, done: Callable[[], bool]) -> None:
        deadline = boottime_ns() + int(FORMATION_TIMEOUT_S * SECOND)
        while not done():
            self._check_nodes()
            if boottime_ns() > deadline:
                raise ConsoleError(
                    f"The nodes were not ready within {FORMATION_TIMEOUT_S:g} s; see "
                    f"the node.log files below {self._state.root}."
                )
            self._pause(POLL_INTERVAL_S)

    def _check_nodes(self) -> None:
        for node in self._nodes.values():
            if node.poll_exit() is not None:
                raise ConsoleError(f"{node.address} ended: {node.last_log_line()}")
