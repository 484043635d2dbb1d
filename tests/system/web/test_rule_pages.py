"""Rules of the pages of host rules: a rule without effect gets a warning first."""

import html
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from pymongo.database import Database

from tests.web.web_visitor import Visitor
from twistlock_console.policies.host import read_policy
from twistlock_console.web.common.database import storage_of

RULES = "/defend/runtime/host"
FORM = f"{RULES}/rule"
Store = Database[dict[str, Any]]


@pytest.fixture
def database(app: Flask) -> Store:
    """Return the application's database with three Defenders."""
    found: Store = storage_of(app).database()
    found["defenders"].insert_many([{"_id": n} for n in ("db-1", "web-1", "web-2")])
    return found


def save(admin: Visitor, **fields: str) -> Any:
    """Fill in the form of a rule and send it."""
    usual = {"hosts": "*", "everyHours": "24", "effect": "alert", "name": "r"}
    version = re.search(r'name="version" value="(\d+)"', admin.get(FORM).text)
    assert version is not None
    return admin.send(FORM, **{**usual, "version": version[1], **fields})


def shown_fields(page: str) -> dict[str, str]:
    """Return the fields of the form on a page, as a browser would send them."""
    texts = re.findall(r'<textarea name="(\w+)"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    inputs = re.findall(r'<input[^>]*name="(\w+)"[^>]* value="([^"]*)"', page)
    chosen = re.findall(r'<option value="(\w+)" selected', page)
    found = {name: html.unescape(text) for name, text in [*inputs, *texts]}
    if re.search(r'name="disabled" checked', page):
        found["disabled"] = "on"
    return {**found, "effect": chosen[0] if chosen else "alert"}


def confirm(admin: Visitor, page: str, **others: str) -> Any:
    """Press "Save anyway" on a page."""
    button = re.search(r'name="confirmed" value="(\w+)">Save anyway<', page)
    assert button is not None
    fields = shown_fields(page)
    fields.pop("csrf_token", None)
    return admin.send(FORM, **{**fields, "confirmed": button[1], **others})


def page_after(admin: Visitor, answer: Any) -> str:
    """Return the page after the redirect, as text."""
    assert answer.status_code == 303, answer.text
    return html.unescape(admin.get(answer.location).text)


@pytest.mark.parametrize(
    ("fields", "words", "stored"),
    [
        pytest.param(
            {"hosts": "ui-web-*, ui-k8s-*"},
            "Hosts: None of the 3 Defenders matches ui-web-*, ui-k8s-*",
            {"hosts": ("ui-web-*", "ui-k8s-*")},
            id="no-host",
        ),
        pytest.param(
            {"checks": "SSH root login"},
            "Compliance checks: There is no check 'SSH root login' (did you mean "
            "'ssh-root-login'?)",
            {"checks": ("SSH root login",)},
            id="unknown-check",
        ),
        pytest.param(
            {"paths": "/etc/passwd, /etc/shadow"},
            "Watched files and folders: '/etc/passwd, /etc/shadow' is one path",
            {},
            id="comma-in-a-path",
        ),
        pytest.param(
            {"disabled": "on"},
            "Switched off: The rule is off: it would apply to no host.",
            {"disabled": True},
            id="off",
        ),
    ],
)
def test_a_rule_without_effect_gets_a_warning_before_it_is_saved(
    admin: Visitor,
    database: Store,
    fields: dict[str, str],
    words: str,
    stored: dict[str, object],
) -> None:
    """The warning shows what would be saved; a confirmation saves exactly that."""
    asked = save(admin, **fields)
    text = re.sub("<[^>]+>", "", html.unescape(asked.text))

    assert asked.status_code == 400
    assert read_policy(database).rules == ()
    assert "The rule is not saved yet." in text
    assert words in text
    assert "This would be saved:" in text

    done = confirm(admin, asked.text)
    [rule] = read_policy(database).rules
    found = {
        "hosts": rule.hosts,
        "checks": rule.compliance.checks,
        "disabled": rule.disabled,
    }

    assert done.status_code == 303
    assert {name: found[name] for name in stored} == stored


def test_a_confirmation_covers_only_the_warnings_shown(
    admin: Visitor, database: Store
) -> None:
    """A form changed after a warning is checked again."""
    asked = save(admin, hosts="ui-*")
    again = confirm(admin, asked.text, hosts="k8s-*")

    assert again.status_code == 400
    assert "matches k8s-*" in again.text
    assert read_policy(database).rules == ()
    assert confirm(admin, again.text).status_code == 303


def test_a_rule_that_works_is_saved_at_once(admin: Visitor, database: Store) -> None:
    """Several names may be on one line; the page shows the hosts of the rule."""
    page = page_after(admin, save(admin, hosts="web-1, web-2", denied="xmrig, nc"))
    [rule] = read_policy(database).rules

    assert rule.hosts == ("web-1", "web-2")
    assert rule.processes.denied == ("xmrig", "nc")
    assert "The rule r is saved and applies to 2 of 3 hosts: web-1, web-2." in page
    assert "applies to 2 of 3" in page


def test_shadowed_rules_are_reported_and_marked(
    admin: Visitor, database: Store
) -> None:
    """A new rule comes first; the warning names a rule that it leaves without hosts."""
    save(admin, name="web", hosts="web-*")
    asked = save(admin, name="all")
    page = page_after(admin, confirm(admin, asked.text))
    edited = save(admin, name="web", before="web", hosts="web-1")

    assert "comes before web and matches the same hosts" in asked.text
    assert "The rule all is saved and applies to 3 of 3 hosts" in page
    assert ">Shadowed</span> <small>by all</small>" in page
    assert edited.status_code == 400
    assert "The rule all comes before it and matches the same hosts" in edited.text
    assert "is saved, but the rule all comes before it" in page_after(
        admin, confirm(admin, edited.text)
    )


def test_other_actions_report_the_state_of_the_rule(
    admin: Visitor, database: Store
) -> None:
    """The message says what the rule does after it was switched, moved or deleted."""
    save(admin, name="all")
    save(admin, name="web", hosts="web-*")

    def act(name: str, **fields: str) -> str:
        seen = str(read_policy(database).version)
        form = {"version": seen, "name": "web", **fields}
        return page_after(admin, admin.send(f"{RULES}/{name}", form_on=RULES, **form))

    assert "The rule web is saved. It is off and applies to no host." in act("switch")
    assert "The rule web is saved and applies to 2 of 3 hosts" in act("switch")
    assert "but the rule all comes before it" in act("move", to="down")
    assert "The rule web is deleted." in act("delete")


def test_an_error_names_the_field_and_marks_it(admin: Visitor, database: Store) -> None:
    """The error is at the top and beside the field; every field keeps its text."""
    typed = {
        "name": "web rule",
        "notes": "why",
        "hosts": "web-1",
        "denied": "nc",
        "effect": "prevent",
        "paths": "/a",
        "folders": "etc",
        "exclusions": "/a/*",
        "checks": "redirects",
        "everyHours": "7",
        "disabled": "on",
    }
    page = save(admin, **typed).text
    fields = shown_fields(page)

    assert "Folders watched with everything below: &#39;etc&#39; is not an abs" in page
    assert re.search(r'name="folders"[^>]* aria-invalid="true"', page)
    assert 'id="wrong-folders">&#39;etc&#39; is not an absolute path' in page
    assert "files.paths" not in page
    assert {name: fields.get(name) for name in typed} == typed


def test_a_form_can_be_saved_after_another_changed_the_rules(
    admin: Visitor, database: Store
) -> None:
    """One warning is shown; the text is kept, and the next click saves it."""
    save(admin, name="other", hosts="db-1")
    late = save(admin, name="mine", hosts="web-1", version="0")
    fields = shown_fields(late.text)
    fields.pop("csrf_token")

    assert late.status_code == 400
    assert "nother user changed the rules meanwhile" in late.text
    assert admin.send(FORM, **fields).status_code == 303
    assert [r.name for r in read_policy(database).rules] == ["mine", "other"]


def test_a_host_on_which_no_check_ran_is_not_compliant(
    admin: Visitor, database: Store
) -> None:
    """A host whose rule names no existing check is not shown as compliant."""
    now = datetime.now(UTC)
    run = {"time": now, "received": now, "rule": "r", "number": 1, "results": []}
    none = {"failed": 0, "severe": 0, "checks": 0}
    database["defender_compliance"].insert_one({"_id": "web-1", **run, **none})

    assert "No check ran</span>" in admin.get("/monitor/compliance/hosts").text
    assert "No check ran: the rule r names no existing check." in (
        admin.get("/monitor/compliance/host?hostname=web-1").text
    )
