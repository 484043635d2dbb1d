"""Rules of the alert monitor of the primary: problems found, alerts sent."""

import threading
from datetime import UTC, datetime, timedelta

from plugins.ha.declarations import MEMBER_LAG, NODE_LOST
from plugins.ha.reporting.monitoring import problems_in
from tests.ha.messages import cluster, node
from tests.hosts.waiting import eventually
from tests.web.alert_receiver import ALERTS, LOST, Receiver, hook
from tests.web.web_visitor import Visitor, basic
from twistlock_console.alerts import store
from twistlock_console.alerts.monitor import (
    AlertMonitor,
    ProblemSource,
    backup_problems,
    certificate_problems,
    defender_problems,
)
from twistlock_console.alerts.rules import (
    AlertRecord,
    AlertState,
    CoreAlertKind,
    Notice,
    Problem,
)
from twistlock_console.alerts.settings import (
    AlertSettings,
)
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.client import Db
from twistlock_console.events.types import Role, RoleChanged
from twistlock_console.settings import Settings


def test_the_primary_reports_problems(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """It reports the failover itself, then each problem and its end, each once."""
    admin.call(ALERTS, hook(receiver, nodeLostSeconds=1), Authorization=basic())
    store.record_alerted_epoch(database, 4)
    wrong = [LOST]
    blind = [False]

    def find_problems(*_: object) -> list[Problem]:
        if blind[0]:
            raise DatabaseError("the database does not answer")
        return list(wrong)

    watch = AlertMonitor(running)
    watch.sources.append(ProblemSource(frozenset({NODE_LOST.name}), find_problems))
    phases = {"elected": 0.1, "ports": 0.2}
    reason = "10.0.0.2 fell silent"
    watch.on_role_changed(RoleChanged(Role.STANDBY, Role.PRIMARY, reason, 5, phases))
    try:
        assert eventually(lambda: len(receiver.got) == 2)
        blind[0] = True
        wrong.clear()
        threading.Event().wait(2.5)
        assert len(receiver.got) == 2
        blind[0] = False
        assert eventually(lambda: len(receiver.got) == 3)
    finally:
        watch.on_role_changed(RoleChanged(Role.PRIMARY, Role.STANDBY, "over", 5, {}))

    sent = [(body["kind"], body["state"]) for body in receiver.bodies()]
    assert sent == [
        ("failover", "happened"),
        ("nodeLost", "raised"),
        ("nodeLost", "recovered"),
    ]
    assert "10.0.0.2 fell silent" in receiver.bodies()[0]["message"]


def test_a_failover_ends_no_problem(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """A problem that the earlier primary reported stays open on the new one."""
    admin.call(ALERTS, hook(receiver, nodeLostSeconds=3600), Authorization=basic())
    store.record_alerted_epoch(database, 5)
    store.enqueue(database, [Notice(LOST, 1, AlertState.RAISED)], [])
    calls: list[int] = []

    def find_problems(*_: object) -> list[Problem]:
        calls.append(1)
        return [LOST]

    watch = AlertMonitor(running)
    watch.sources.append(ProblemSource(frozenset({NODE_LOST.name}), find_problems))
    watch.on_role_changed(RoleChanged(Role.STANDBY, Role.PRIMARY, "why", 5, {}))
    try:
        assert eventually(lambda: len(calls) == 2)
    finally:
        watch.stop()

    assert receiver.got == []
    assert store.read_records(database) == {
        LOST.key: AlertRecord(LOST, 1, is_open=True)
    }


def test_open_problems_are_on_the_page(admin: Visitor, database: Db) -> None:
    """The page shows the open problems, and the number of alerts waiting to be sent."""
    store.enqueue(database, [Notice(LOST, 1, AlertState.RAISED)], ["webhook"])

    page = admin.get("/manage/alerts/alerts").get_data(as_text=True)

    assert "The node 10.0.0.2 is lost." in page
    assert "1 alert waits to be sent" in page


def test_problems_of_the_console(database: Db) -> None:
    """Failed backups, also while they are repeated, and Defenders offline too long."""
    now = datetime.now(UTC)
    database["backup_results"].insert_many(
        [
            {"_id": "daily", "state": "running", "error": "the disk is full"},
            {"_id": "weekly", "state": "done", "error": ""},
        ]
    )
    database["defenders"].insert_many(
        [
            {"_id": "here", "connected": True, "lastModified": now},
            {"_id": "away", "connected": False, "lastModified": now},
            {
                "_id": "lost",
                "connected": False,
                "lastModified": now - timedelta(minutes=11),
            },
        ]
    )

    found = [
        *backup_problems(database, AlertSettings()),
        *defender_problems(database, AlertSettings()),
    ]

    assert [(each.kind, each.subject) for each in found] == [
        (CoreAlertKind.BACKUP_FAILED, "daily"),
        (CoreAlertKind.DEFENDERS_LOST, "lost"),
    ]


def test_problems_of_a_cluster() -> None:
    """Unreachable nodes and members too far behind; a host that waits is no problem."""
    states = [("PRIMARY", 0.0), ("SECONDARY", 11.0), ("UNAVAILABLE", None)]
    nodes = [
        node(f"10.0.0.{n}", state, lagSeconds=lag)
        for n, (state, lag) in enumerate([*states, ("REQUEST_JOIN", None)])
    ]

    found = list(problems_in(cluster(nodes), 10))
    certificates = list(certificate_problems("10.0.0.9", {"certificate": "it ends"}))

    assert [(each.kind, each.subject) for each in found] == [
        (MEMBER_LAG.name, "10.0.0.1"),
        (NODE_LOST.name, "10.0.0.2"),
    ]
    assert [each.sentence for each in certificates] == ["on 10.0.0.9, it ends"]
