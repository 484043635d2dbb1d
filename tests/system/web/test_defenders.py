"""Rules of the pages and calls about Defenders, their policy and their events."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from pymongo.database import Database

from tests.web.web_visitor import Visitor, basic
from twistlock_console import __version__
from twistlock_console.common.errors import ConsoleError
from twistlock_console.defenders.control import read_defender_settings
from twistlock_console.defenders.event_quota import DroppedEvents
from twistlock_console.defenders.event_store import encode_documents, store_events
from twistlock_console.policies.host import read_policy
from twistlock_console.protocol import FileEvent, ProcessEvent
from twistlock_console.protocol.policy import MAX_RULES
from twistlock_console.revocation.store import RevocationKind, read_revoked
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.lists.registry import ensure_indexes
from twistlock_console.web.ui.event_plot import BAR_COUNT, draw_plot

NOW = datetime.now(UTC).replace(microsecond=0)
POLICY = "/api/v1/policies/runtime/host"
RULES = "/defend/runtime/host"
Store = Database[dict[str, Any]]


@pytest.fixture
def database(app: Flask) -> Store:
    """Return the application's database with indexes and no documents."""
    found = storage_of(app).database()
    ensure_indexes(found)
    return found


def _register(database: Store, name: str, **members: object) -> None:
    usual = {"version": __version__, "connected": True, "lastModified": NOW}
    certificate = {"serial": f"5e{name}", "expires": NOW + timedelta(days=9)}
    database["defenders"].insert_one(
        {"_id": name, **usual, "certificate": certificate, **members}
    )


def _events(database: Store) -> None:
    found = ProcessEvent(
        *(1, NOW, "web", "prevent", 12, "/usr/bin/nc", "nc", "nc -l", "root", "ended")
    )
    changed = FileEvent(2, NOW, "web", "alert", "/etc/passwd", "modified", mode="0644")
    store_events(database, encode_documents("web-1", [found, changed]))
    store_events(database, encode_documents("db-1", [found]))


def _get(admin: Visitor, path: str) -> Any:
    answer = admin.get(f"/api/v1{path}", Authorization=basic())
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def _put(admin: Visitor, body: object) -> Any:
    return admin.client.put(
        POLICY,
        json=body,
        base_url="https://console.test",
        headers={"Authorization": basic()},
    )


def test_defenders_are_listed_in_the_products_shape(
    admin: Visitor, database: Store
) -> None:
    """Filters, names, summary and CSV file agree with the page."""
    _register(database, "web-1")
    _register(database, "db-1", connected=False, version="1.0", alerted=NOW)

    [away] = _get(admin, "/defenders?connected=false")
    page = admin.get("/manage/defenders").text

    assert (away["hostname"], away["connected"], away["alerted"]) == (
        "db-1", False, True,
    )  # fmt: skip
    assert (away["type"], away["compatibleVersion"]) == ("serverLinux", False)
    assert _get(admin, "/defenders/names?connected=true") == ["web-1"]
    assert _get(admin, "/defenders/summary") == [
        {"category": "host", "connected": 1, "deployed": 2}
    ]
    assert "1 of 2 Defenders are connected" in page
    assert "Upgrade needed" in page
    assert admin.get("/manage/defenders/download").text.count("\n") == 3


def test_a_decommissioned_defender_is_gone_with_its_certificate(
    admin: Visitor, database: Store
) -> None:
    """The page removes it and the audit trail has it; a second attempt is refused."""
    _register(database, "web-1")
    follower = {"_id": "5e0", "defender": "web-1", "serial": "5e1", "pem": "…"}
    database["renewed_certificates"].insert_one(follower)
    admin.send("/manage/defenders/decommission?hostname=web-1", hostname="web-1")
    again = admin.send("/manage/defenders/decommission", hostname="web-1")
    page = admin.get(again.location).text

    assert _get(admin, "/defenders") == []
    assert read_revoked(database, RevocationKind.CERTIFICATE) >= {
        "5eweb-1",
        "5e0",
        "5e1",
    }
    assert database["defender_orders"].find_one({"defender": "web-1"})
    assert "There is no Defender web-1." in page
    assert "decommissioned the Defender web-1" in str(_get(admin, "/audits/mgmt"))


def test_settings_of_defenders_are_kept(admin: Visitor, database: Store) -> None:
    """Page and API store them; an invalid value is refused."""
    good = {"disconnectPeriodDays": "7", "alertHours": "2", "eventQuotaMegabytes": "64"}
    wrong = (
        ("disconnectPeriodDays", "0"),
        ("alertHours", "x"),
        ("eventQuotaMegabytes", ""),
    )
    refused = [
        admin.send("/manage/defenders/advanced", **{**good, name: value})
        for name, value in wrong
    ]
    admin.send("/manage/defenders/advanced", **good)

    assert [answer.status_code for answer in refused] == [400] * 3
    assert _get(admin, "/settings/defender") == {
        "disconnectPeriodDays": 7,
        "alertHours": 2,
        "eventQuotaMegabytes": 64,
    }
    admin.call("/api/v1/settings/defender", {}, Authorization=basic())
    assert read_defender_settings(database).disconnect_period_days == 1
    assert read_defender_settings(database).event_quota_megabytes == 256


def test_events_over_the_quota_are_shown(admin: Visitor, database: Store) -> None:
    """Their number is in the list of Defenders, in dropped events, and in metrics."""
    _register(database, "web-1", droppedEvents=1234)
    store_events(database, [], [DroppedEvents("web-1", "2026-11-24", (7, 8), 64)])
    database["defender_counters"].insert_one({"_id": "console", "dropped": 1234})
    admin.call(
        "/api/v1/settings/logging",
        {"enableMetricsCollection": True},
        Authorization=basic(),
    )

    [shown] = _get(admin, "/defenders")
    [event] = _get(admin, "/audits/runtime/dropped")
    metrics = admin.get("/api/v1/metrics", Authorization=basic()).text

    assert shown["droppedEvents"] == 1234
    assert "1,234 events dropped" in admin.get("/manage/defenders").text
    assert (event["hostname"], event["count"], event["last"]) == ("web-1", 2, 8)
    assert "quota of 64 MB" in event["sentence"]
    assert "twistlock_defender_events_dropped 1234" in metrics


def test_events_are_listed_by_kind(admin: Visitor, database: Store) -> None:
    """Denied processes and changed files have lists of their own, with a chart."""
    _events(database)

    [audit] = _get(admin, "/audits/runtime/host?hostname=web-1&kind=file")
    [change] = _get(admin, "/audits/runtime/file-integrity")
    page = admin.get("/monitor/events/host?rule=web&plot=true").text
    empty = admin.get("/monitor/events/trouble").text

    assert (audit["kind"], audit["outcome"]) == ("process", "ended")
    assert (change["path"], change["hashBefore"]) == ("/etc/passwd", None)
    assert "2 events from" in page
    assert "Every Defender could enforce its rule" in empty
    assert admin.get("/monitor/events/file-integrity").status_code == 200
    assert "nc -l" in admin.get("/monitor/events/host/download").text


def test_compliance_lists_each_host(admin: Visitor, database: Store) -> None:
    """It shows the latest run; a connected Defender can be ordered to run checks."""
    result = {"id": "5.2", "title": "ssh", "severity": "high", "passed": False}
    database["defender_compliance"].insert_one(
        {
            "_id": "web-1",
            "time": NOW,
            "rule": "web",
            "number": 3,
            "failed": 1,
            "severe": 1,
            "checks": 1,
            "results": [{**result, "detail": "root may log in"}],
        }
    )
    _register(database, "web-1")
    host = "/monitor/compliance/host?hostname=web-1"
    asked = admin.send("/monitor/compliance/scan", form_on=host, hostname="web-1")
    shown = admin.get(asked.location).text
    refused = admin.send("/monitor/compliance/scan", form_on=host, hostname="db-1")

    assert _get(admin, "/compliance/hosts")[0]["failed"] == 1
    assert "root may log in" in shown
    assert "No Defender db-1 is connected now." in admin.get(refused.location).text
    assert database["defender_orders"].find_one({"order": "scan"})


def test_rules_are_made_on_the_page(admin: Visitor, database: Store) -> None:
    """Each change is stored with its user and is in the audit trail."""
    for name in ("web", "all"):
        admin.send(
            f"{RULES}/rule",
            version=str(read_policy(database).version),
            name=name,
            hosts="web-*\ndb-1",
            denied="nc",
            effect="prevent",
            folders="/etc",
            everyHours="12",
        )
    for act, fields in (
        ("move", {"name": "web", "to": "up"}),
        ("switch", {"name": "web"}),
        ("delete", {"name": "all"}),
    ):
        seen = str(read_policy(database).version)
        admin.send(f"{RULES}/{act}", form_on=RULES, version=seen, **fields)

    [rule] = read_policy(database).rules
    assert (rule.name, rule.disabled, rule.owner) == ("web", True, "admin")
    assert rule.hosts == ("web-*", "db-1")
    assert rule.files.paths[0].recursive
    assert "db-1" in admin.get(f"{RULES}/rule?name=web").text
    assert "switched the host rule web" in str(_get(admin, "/audits/mgmt"))


def test_a_bad_rule_is_refused_with_its_reason(admin: Visitor, database: Store) -> None:
    """The form keeps its values; nothing is stored."""
    page = admin.send(
        f"{RULES}/rule", version="0", name="web", hosts="*", paths="etc/passwd"
    )
    sent = {"rules": [{"name": "a"}, {"name": "web", "files": {"paths": [{}]}}]}
    api = _put(admin, sent)

    assert page.status_code == 400
    assert "is not an absolute path" in page.text
    assert "etc/passwd</textarea>" in page.text
    assert api.get_json()["err"].startswith("rule 'web': files.paths.0.path")
    assert read_policy(database).version == 0


def test_inconsistent_rules_are_refused(admin: Visitor, database: Store) -> None:
    """Two rules of one name, and more rules than Defenders accept."""
    names = [f"rule-{number}" for number in range(MAX_RULES)]
    _put(admin, {"rules": [{"name": name} for name in names]})
    form = {"version": "1", "hosts": "*"}
    renamed = admin.send(f"{RULES}/rule", before=names[0], name=names[1], **form)
    more = admin.send(f"{RULES}/rule", name="more", **form)

    assert (renamed.status_code, more.status_code) == (400, 400)
    assert f"wo rules are called &#39;{names[1]}&#39;; rename one" in renamed.text
    assert [rule.name for rule in read_policy(database).rules] == names


def test_stored_rules_of_one_name_can_be_corrected(
    admin: Visitor, database: Store
) -> None:
    """They are shown and can be replaced; an invalid document is reported as that."""
    _put(admin, {"rules": [{"name": "web"}]})
    database["policies"].update_one({}, {"$push": {"rules.rules": {"name": "web"}}})
    shown = admin.get(RULES).text
    mended = _put(admin, {"rules": [{"name": "web"}]})
    database["policies"].update_one({}, {"$push": {"rules.rules": {"nam": "web"}}})

    assert shown.count("/rule?name=web") == 2
    assert mended.status_code == 200
    with pytest.raises(ConsoleError, match="the stored host policy cannot be read"):
        read_policy(database)


@pytest.mark.parametrize(
    "part",
    [
        {"files": {"paths": [{"path": "/etc/\0"}]}},
        {"files": {"exclusions": ["/etc/*\x1f"]}},
        {"processes": {"denied": ["nc\x7f"]}},
        {"hosts": ["web-*\n"]},
    ],
)
def test_control_characters_are_refused(
    part: dict[str, object], admin: Visitor, database: Store
) -> None:
    """The sentence names the rule; no process or path of a host can have them."""
    answer = _put(admin, {"rules": [{"name": "web"} | part]})

    assert answer.status_code == 400
    assert re.match("rule 'web': .* holds a control char", answer.get_json()["err"])
    assert read_policy(database).version == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("WEB", "there is a rule 'web'", id="case"),
        pytest.param("\uff57eb", "there is a rule 'web'", id="full-width"),
        pytest.param("w\u0435b", "mixes Cyrillic and Latin letters", id="look-alike"),
        pytest.param("web\u200b", "invisible character U+200B", id="invisible"),
    ],
)
def test_a_new_rule_may_not_resemble_another(
    admin: Visitor, database: Store, name: str, words: str
) -> None:
    """A similar name that is stored already stays, and can be changed."""
    _put(admin, {"rules": [{"name": "web"}]})
    answer = _put(admin, {"rules": [{"name": "web"}, {"name": name}]})
    stored = {"_id": "hostRuntime"}
    twins = [{"name": "web"}, {"name": name}]
    database["policies"].update_one(stored, {"$set": {"rules.rules": twins}})
    kept = _put(admin, {"rules": [*twins, {"name": "third"}]})
    renamed = _put(admin, {"rules": [{"name": "web"}, {"name": "fourth"}]})

    assert answer.status_code == 400
    assert words in answer.get_json()["err"]
    assert (kept.status_code, renamed.status_code) == (200, 200)


def test_a_form_of_outdated_rules_is_refused(admin: Visitor, database: Store) -> None:
    """Two administrators cannot overwrite each other's changes unnoticed."""
    assert _put(admin, {"rules": [{"name": "web"}]}).status_code == 200
    late = admin.send(f"{RULES}/delete", form_on=RULES, version="0", name="web")

    assert "nother user changed the rules meanwhile" in admin.get(late.location).text
    assert _get(admin, "/policies/runtime/host")["rules"][0]["owner"] == "admin"


def test_an_unchanged_rule_keeps_who_changed_it(
    admin: Visitor, database: Store
) -> None:
    """Only changed rules are sent to Defenders again."""
    _put(admin, {"rules": [{"name": "web"}]})
    before = read_policy(database)
    _put(admin, {"rules": [{"name": "all"}, {"name": "web", "owner": "x"}]})
    after = read_policy(database)

    assert after.version == before.version + 1
    assert after.rules[1] == before.rules[0]


def test_a_plot_shows_counts_over_time() -> None:
    """The highest bar fills the chart; counts outside its time are left out."""
    drawn = draw_plot({0: 1, 3: 200, BAR_COUNT: 9, -1: 9}, NOW, timedelta(minutes=30))
    nothing = draw_plot({}, NOW, timedelta(seconds=1))

    assert [bar.height for bar in drawn.bars] == [2.0, 120]
    assert (drawn.max_count, drawn.total) == (200, 201)
    assert drawn.bars[0].tooltip.startswith("1 event from")
    assert (nothing.bars, nothing.total) == ((), 0)
