"""The Defender server with its database: events, register, policy, who is sent away."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pymongo.database import Database

from tests.fleet.defender_client import (
    NOON,
    Dialled,
    FleetClient,
    revoke_certificate,
    trouble,
    until,
)
from twistlock_console.common.errors import Refused
from twistlock_console.database.mongod import Mongod
from twistlock_console.defenders import enrolled
from twistlock_console.defenders.control import enqueue_command
from twistlock_console.defenders.enrolment import renew
from twistlock_console.defenders.register import reconnect_stats
from twistlock_console.pki.authority import sign_request
from twistlock_console.pki.identity_files import make_request, read_key
from twistlock_console.pki.tls import Identity, Usage
from twistlock_console.policies.host import write_policy
from twistlock_console.protocol import (
    ComplianceEvent,
    ComplianceResult,
    Events,
    Facts,
    FactsChanged,
    HostRule,
    Ping,
    RenewalRequested,
    hash_rule,
)
from twistlock_console.revocation.store import RevocationKind, read_revoked
from twistlock_console.servers.supervisor.child_listener import ChildListener
from twistlock_console.settings import Settings

Documents = Database[dict[str, Any]]


@contextmanager
def frozen(mongod: Mongod) -> Iterator[None]:
    """Freeze the database for a while."""
    assert mongod.pid
    os.kill(mongod.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(mongod.pid, signal.SIGCONT)


def registered(database: Documents, name: str, connected: bool) -> dict[str, Any]:
    """The Defender's entry, once it is *connected* or is not."""
    wanted = {"_id": name, "connected": connected}
    found: dict[str, Any] = until(lambda: database["defenders"].find_one(wanted))
    return found


def test_what_is_acknowledged_is_stored_once(
    fleet: FleetClient, database: Documents
) -> None:
    """Sent again after a reconnect it is acknowledged again, and not stored twice."""
    first = fleet.dial("web-1").greet()
    assert first.report(trouble(1), trouble(2)) == 2
    first.connection.close()
    assert fleet.dial("web-1").greet().report(trouble(2), trouble(3)) == 3

    stored = list(database["defender_events"].find().sort("number"))
    assert [event["number"] for event in stored] == [1, 2, 3]
    assert {event["defender"] for event in stored} == {"web-1"}
    assert {event["time"] for event in stored} == {NOON}


def test_the_register_holds_who_is_connected_and_since_when(
    fleet: FleetClient, database: Documents
) -> None:
    """What a Defender says of itself, and when its connectivity last changed."""
    defender = fleet.dial("web-1").greet()
    here = registered(database, "web-1", connected=True)
    defender.send(FactsChanged(Facts(os="Debian 12", cpu_count=4, memory_gb=7.5)))
    until(lambda: database["defenders"].find_one({"os": "Debian 12"}))
    defender.connection.close()
    away = registered(database, "web-1", connected=False)

    assert here["version"] == "26.11.1"
    assert here["link"]["epoch"] == 7
    assert here["certificate"]["serial"] == f"{serial(fleet, 'web-1'):x}"
    assert away["systemInfo"]["cpuCount"] == 4
    assert away["lastModified"] > here["lastModified"]


def serial(fleet: FleetClient, name: str) -> int:
    """The serial number of a Defender's certificate."""
    return fleet.certificate(name).serial_number


def test_a_policy_arrives_within_a_second_of_its_change(
    fleet: FleetClient, database: Documents
) -> None:
    """At the hello if the Defender has another; to all when it changes."""
    defender = fleet.dial("web-1").greet()
    nothing = defender.read_type("policy")
    _, written = write_policy(database, [HostRule("web", hosts=("web-*",))], "admin")
    pushed = defender.read_type("policy", 5)
    again = fleet.dial("web-1").greet(policy=pushed["hash"])
    again.send(Ping())

    assert nothing["rule"] is None
    assert pushed["rule"]["name"] == "web"
    assert pushed["rule"]["owner"] == "admin"
    assert pushed["hash"] == hash_rule(written.rules[0])
    assert again.read()["type"] == "pong"


def test_a_policy_that_cannot_be_read_stops_nothing_else(
    fleet: FleetClient, database: Documents, server: ChildListener
) -> None:
    """Findings are stored, who was revoked is sent away, and another one may come."""
    broken = {"version": 5, "rules": {"rules": [{"name": ""}]}}
    server.close()
    database["policies"].insert_one({"_id": "hostRuntime", **broken})
    server.open()
    revoked, other = fleet.dial("gone-2").greet(), fleet.dial("web-1").greet()
    stored = other.report(trouble(1))
    revoke_certificate(database, "gone-2", f"{serial(fleet, 'gone-2'):x}")
    code, _ = revoked.ending()
    write_policy(database, [HostRule("web", hosts=("web-*",))], "admin")

    assert (stored, code) == (1, 1008)
    assert other.read_type("policy", 5)["rule"]["name"] == "web"


def test_the_newer_of_two_connections_with_one_certificate_stays(
    fleet: FleetClient,
) -> None:
    """The older may be what a broken network has left of this very Defender."""
    older = fleet.dial("web-1").greet()
    older.send(Ping())
    older.read_type("pong")
    newer = fleet.dial("web-1").greet()
    code, reason = older.ending()

    assert (code, "newer connection" in reason) == (1008, True)
    assert newer.report(trouble(1)) == 1


def test_a_revoked_certificate_is_sent_away_and_kept_out(
    fleet: FleetClient, database: Documents
) -> None:
    """Within a second, and at every further try."""
    defender = fleet.dial("gone-1").greet()
    defender.send(Ping())
    defender.read_type("pong")
    revoke_certificate(database, "gone-1", f"{serial(fleet, 'gone-1'):x}")

    reason = "this certificate was revoked; deploy the Defender again"
    assert defender.ending() == (1008, reason)
    assert fleet.refusal("gone-1")[0] == 1008


def certificate_valid(
    fleet: FleetClient, settings: Settings, name: str, begins: float, ends: float
) -> None:
    """Give *name* a certificate that is valid between two times, in s from now."""
    certificate, now = fleet.certificate(name), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(read_key(fleet.key(name)).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(seconds=begins))
        .not_valid_after(now + timedelta(seconds=ends))
    )
    for extension in certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    authority = read_key(settings.folders.certificates / "ca-key.pem")
    pem = builder.sign(authority, SHA256()).public_bytes(Encoding.PEM)
    fleet.replace_certificate(name, pem)


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [
        pytest.param(-900_000, -86_400, "expired on", id="expired"),
        pytest.param(86_400, 900_000, "valid from", id="not-yet-valid"),
    ],
)
def test_a_certificate_out_of_its_time_is_refused_before_the_greeting(
    fleet: FleetClient, settings: Settings, begins: float, ends: float, words: str
) -> None:
    """TLS alone would only cut the connection, without a reason."""
    certificate_valid(fleet, settings, "old-1", begins, ends)

    code, reason = fleet.refusal("old-1")

    assert (code, words in reason) == (1008, True)


def test_a_certificate_that_expires_ends_its_connection(
    fleet: FleetClient, settings: Settings, database: Documents
) -> None:
    """Nothing of it is stored from then on."""
    certificate_valid(fleet, settings, "old-2", -60, 3)
    defender = fleet.dial("old-2").greet()
    assert defender.report(trouble(1)) == 1
    end = fleet.certificate("old-2").not_valid_after_utc
    until(lambda: datetime.now(UTC) > end)
    defender.send(Events((trouble(2),)))

    code, reason = defender.ending()
    assert (code, "expired on" in reason) == (1008, True)
    assert database["defender_events"].count_documents({}) == 1


def test_a_certificate_that_ends_soon_is_renewed(
    fleet: FleetClient, database: Documents, settings: Settings
) -> None:
    """Once; a decommission ends both, whichever is in use by then."""
    folder = settings.folders.certificates
    fleet.certificate("late-1")
    request = make_request(fleet.key("late-1"), "any")
    short = {"usage": Usage.DEFENDER, "common_name": "late-1", "names": []}
    fleet.replace_certificate("late-1", sign_request(folder, request, days=99, **short))
    old = f"{serial(fleet, 'late-1'):x}"
    defender = fleet.dial("late-1").greet()
    registered(database, "late-1", connected=True)

    first = renewed(defender, request)
    again = fleet.dial("late-1").greet()
    second = renewed(again, request)
    fleet.replace_certificate("late-1", first.encode())
    again.connection.close()
    registered(database, "late-1", connected=False)
    fleet.dial("late-1").greet()
    entry = registered(database, "late-1", connected=True)
    enrolled.decommission(database, "LATE-1")

    made = fleet.certificate("late-1")
    name = made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert first == second
    assert name == "late-1"
    assert made.not_valid_after_utc > datetime.now(UTC) + timedelta(days=1000)
    assert entry["certificate"]["serial"] == f"{made.serial_number:x}"
    assert read_revoked(database, RevocationKind.CERTIFICATE) == {
        old,
        f"{made.serial_number:x}",
    }


def renewed(defender: Dialled, request: bytes) -> str:
    """The certificate that the Console gives for *request*."""
    defender.send(RenewalRequested(request.decode()))
    return str(defender.read_type("certificate")["certificate"])


def test_a_certificate_that_is_good_is_not_renewed(
    fleet: FleetClient, database: Documents
) -> None:
    """The Defender stays, and is heard."""
    defender = fleet.dial("web-1").greet()
    defender.send(RenewalRequested(make_request(fleet.key("web-1"), "x").decode()))

    assert defender.report(trouble(1)) == 1
    assert database["renewed_certificates"].count_documents({}) == 0


@pytest.mark.parametrize("wrong", ["none", "another", "revoked"])
def test_a_wrong_request_gets_no_certificate(
    fleet: FleetClient, database: Documents, settings: Settings, wrong: str
) -> None:
    """One that is none, or for another key; or the certificate was just revoked."""
    folder = settings.folders.certificates
    fleet.certificate("other-1")
    request = make_request(fleet.key("other-1"), "x")
    der = fleet.certificate("other-1" if wrong == "revoked" else "web-1").public_bytes(
        Encoding.DER
    )
    soon = datetime.now(UTC) + timedelta(days=9)
    identity = Identity(Usage.DEFENDER, "web-1", 0x77, soon)
    if wrong == "revoked":
        revoke_certificate(database, "web-1", "77")
    text = "nonsense" if wrong == "none" else request.decode()

    with pytest.raises(Refused):
        renew(database, folder, identity, der, text)

    assert database["renewed_certificates"].find_one({"_id": "77"}) is None


def test_orders_of_the_pages_reach_a_defender(
    fleet: FleetClient, database: Documents
) -> None:
    """Run the checks now, or leave."""
    defender = fleet.dial("web-1").greet()
    enqueue_command(database, "nobody", "scan")
    enqueue_command(database, "web-1", "scan")
    scan = defender.read_type("scan")
    enqueue_command(database, "web-1", "leave")

    assert scan == {"type": "scan"}
    assert defender.ending()[0] == 1008
    assert database["defender_orders"].count_documents({}) == 0


def test_the_latest_run_of_the_checks_is_kept(
    fleet: FleetClient, database: Documents
) -> None:
    """Also when an earlier one is sent again."""
    defender = fleet.dial("web-1").greet()
    runs = [
        ComplianceEvent(n, NOON, "all", (ComplianceResult("1", "ssh", "high", n == 1),))
        for n in (1, 2)
    ]
    assert defender.report(*runs) == 2
    assert defender.report(runs[0]) == 1

    [latest] = database["defender_compliance"].find()
    assert (latest["number"], latest["failed"], latest["severe"]) == (2, 1, 1)


def test_a_defender_that_reconnects_after_a_failover_was_not_offline(
    fleet: FleetClient,
    database: Documents,
    make_server: Callable[[int], ChildListener],
    server: ChildListener,
) -> None:
    """Since when it is connected stays, and the first return is on record."""
    fleet.dial("web-1").greet()
    before = registered(database, "web-1", connected=True)
    server.close()
    next_server = make_server(8)
    next_server.open()
    try:
        fleet.dial("web-1").greet()
        until(lambda: database["defenders"].find_one({"link.epoch": 8}))
    finally:
        next_server.close()
        server.open()
    after = registered(database, "web-1", connected=True)

    assert after["lastModified"] == before["lastModified"]
    assert reconnect_stats(database, 8).count == 1
    assert reconnect_stats(database, 8).first == after["link"]["since"]
    assert reconnect_stats(database, 9).count == 0


def test_a_planned_close_says_when_to_come_back(
    fleet: FleetClient, server: ChildListener
) -> None:
    """Each at another moment, so that they do not come all at once."""
    defender = fleet.dial("web-1").greet()
    defender.send(Ping())
    defender.read_type("pong")
    server.close(grace=2)
    try:
        goodbye = defender.read_type("goodbye")
        ending = defender.ending()
    finally:
        server.open()

    assert goodbye == {"type": "goodbye", "retryAfterMs": 300, "spreadMs": 200}
    assert ending[0] == 1012


def test_events_wait_for_the_database_and_pings_do_not(
    fleet: FleetClient, database: Documents, mongod: Mongod
) -> None:
    """While the database is frozen nothing is acknowledged, and nobody is lost."""
    waiting, other = fleet.dial("web-1").greet(), fleet.dial("web-2").greet()
    assert waiting.report(trouble(1)) == 1
    with frozen(mongod):
        waiting.send(Events((trouble(2),)))
        other.send(Ping())
        pong = other.read_type("pong")
        with pytest.raises(TimeoutError):
            waiting.read_type("ack", 1.5)

    assert pong == {"type": "pong"}
    assert waiting.read_type("ack")["through"] == 2
    assert database["defender_events"].count_documents({}) == 2
