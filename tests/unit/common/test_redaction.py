"""What is secret, and that no text or value which is shown has it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistlock_console.common.redaction import (
    CHANGED,
    HIDDEN,
    is_redacted,
    redact,
    redact_text,
    redact_url,
)

PLANTED = "PLANTED-7391"
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{PLANTED}.x{PLANTED}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        (f"https://hooks.test/{PLANTED}", f"https://hooks.test/{HIDDEN}"),
        (f"https://hooks.test:8443/a/{PLANTED}?x", f"https://hooks.test:8443/{HIDDEN}"),
        (f"https://hooks.test/?key={PLANTED}", f"https://hooks.test/{HIDDEN}"),
        (f"https://hooks.test#{PLANTED}", f"https://hooks.test/{HIDDEN}"),
        (f"https://u:{PLANTED}@hooks.test/", f"https://hooks.test/{HIDDEN}"),
        (f"https://[::1]:1/{PLANTED}", f"https://[::1]:1/{HIDDEN}"),
        (f"https://[::1/{PLANTED}", HIDDEN),
        (f"https://hooks.test:{PLANTED}/", HIDDEN),
        (f"https://hooks.test\\{PLANTED}", HIDDEN),
        (f"https://hooks.test;{PLANTED}", HIDDEN),
        ("https://hooks.test", "https://hooks.test"),
        ("https://hooks.test/", "https://hooks.test/"),
        ("https://hooks.test:/", "https://hooks.test:/"),
    ],
)
def test_of_an_address_the_host_alone_is_shown(url: str, shown: str) -> None:
    """Path, query and name may all be the secret of a webhook."""
    assert redact_url(url) == shown
    assert redact_text(f"sent to {url}") == f"sent to {shown}"
    assert is_redacted(shown) is (shown != url)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"token={PLANTED}&x=1", f"token={HIDDEN}&x=1"),
        (f'+  "adminPassword": "{PLANTED}",', f'+  "adminPassword": "{HIDDEN}",'),
        (f"Authorization: Bearer {PLANTED}", f"Authorization: Bearer {HIDDEN}"),
        (f"basic {PLANTED}=", f"basic {HIDDEN}"),
        (f"logged in with {JWT}", f"logged in with {HIDDEN}"),
        (f"mongodb://u:{PLANTED}@10.0.0.1:1", f"mongodb://{HIDDEN}@10.0.0.1:1"),
        (f"mongodb://u:p@{PLANTED}@10.0.0.1:1", f"mongodb://{HIDDEN}@10.0.0.1:1"),
        (f"redis://:{PLANTED}@10.0.0.1", f"redis://{HIDDEN}@10.0.0.1"),
        (f'{{"password":"{PLANTED}"}}', f'{{"password":"{HIDDEN}"}}'),
        (f'"password" : "a\\"{PLANTED}"', f'"password" : "{HIDDEN}"'),
        (
            f"input={{'newPassword': '{PLANTED}'}}",
            f"input={{'newPassword': '{HIDDEN}'}}",
        ),
        (f"token='{PLANTED}', x", f"token={HIDDEN}, x"),
        ("Authorization: Basic onlyLetters", f"Authorization: Basic {HIDDEN}"),
        (f"Cookie: a={PLANTED}; b={PLANTED}", f"Cookie: {HIDDEN}"),
        (
            f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n-----END PRIVATE KEY----- x",
            f"{HIDDEN} x",
        ),
    ],
)
def test_a_secret_is_known_by_its_form(text: str, shown: str) -> None:
    """In a line of the log or of the history; what is shown once stays as it is."""
    assert redact_text(text) == shown
    assert redact_text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "password: write at least 12 characters",
        "HTTP Basic authentication is disabled",
        "the join token is not known",
        '"strongPassword": true',
        "secret: give one; alerts are signed with it",
        "opened 10.0.0.1:8083 after 0.02 s",
        f"https://hooks.test/{CHANGED} accepted it",
        f'"password": "{CHANGED}"',
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_other_text_stays(text: str) -> None:
    """Sentences that speak of secrets hold none."""
    assert redact_text(text) == text


def test_another_secret_is_said() -> None:
    """The history tells that it changed, and not what it was."""
    old = {"url": f"https://h.test/{PLANTED}", "secret": {"plain": PLANTED}, "n": 1}
    new = {"url": "https://h.test/another", "secret": {"plain": "another"}, "n": 2}

    assert redact(new, old) == {
        "url": f"https://h.test/{CHANGED}",
        "secret": {"plain": CHANGED},
        "n": 2,
    }
    assert redact(old, old)["url"] == f"https://h.test/{HIDDEN}"  # type: ignore[index]


@pytest.mark.parametrize("path", ["a'{}", 'a"{}', "a<{}>"])
def test_no_part_of_the_path_of_an_address_is_shown(path: str) -> None:
    """Where a value is an address, what would end it in a text is a part of it."""
    url = f"https://h.test/{path.format(PLANTED)}"
    shown = f"https://h.test/{HIDDEN}"

    assert redact({"url": url}) == {"url": shown}
    assert redact({"url": shown}) == {"url": shown}


def seconds_to_redact(text: str) -> float:
    """Return the processor time that a text takes in which nothing is hidden."""
    began = time.thread_time()
    assert redact_text(text) == text
    return time.thread_time() - began


@pytest.mark.parametrize(
    "part", ["secret", "-eyJaaaaaaaaa", '"secret', "'token", "a:", "://:", "bearer "]
)
def test_a_long_text_is_searched_in_a_moment(part: str) -> None:
    """Users write texts of the history; one of them took more than a minute.

    One that is ten times as long takes about ten times as long, not a hundred times.
    """
    shorter = min(seconds_to_redact(part * 3_000) for _ in range(3))

    assert seconds_to_redact(part * 30_000) < 40 * shorter


def test_the_shape_of_what_is_hidden_stays() -> None:
    """Switches and what is empty are no secrets."""
    value = {"tokens": [PLANTED, {"a": PLANTED, "isOn": True, "b": ""}], "list": [1]}

    hidden = {"a": HIDDEN, "isOn": True, "b": ""}
    assert redact(value) == {"tokens": [HIDDEN, hidden], "list": [1]}


@given(
    st.recursive(
        st.just(PLANTED),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["a", "token", "plain"]), inner)
        ),
        max_leaves=6,
    ),
    st.sampled_from(["password", "apiKey", "clientSecret", "keyfile", "Cookie"]),
)
def test_nothing_under_the_name_of_a_secret_is_shown(value: object, name: str) -> None:
    """However it is nested."""
    assert PLANTED not in str(redact({"in": [{name: value}]}))
