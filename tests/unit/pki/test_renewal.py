"""When a node's certificate must be renewed, and who follows it then."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.unit.pki.test_certificates import call, make_node, serving
from twistlock_console.certificate_renewal.renewal import (
    NodeCertificateRenewer,
    renewal_reason,
)
from twistlock_console.common.errors import DatabaseError
from twistlock_console.node.lifecycle import ensure_certificate_current
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.pki.identity_files import expiry_warnings, load_certificate
from twistlock_console.pki.tls import (
    ReloadingTlsContext,
    client_context,
    server_context,
)
from twistlock_console.settings import Settings

NAMES = ["10.0.0.1", "127.0.0.1", "localhost", "h1"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a node whose folders are there."""
    made = Settings(
        node_address="10.0.0.1", console_cn="h1", data_folder=tmp_path / "data"
    )
    made.folders.create()
    return made


def own(settings: Settings) -> x509.Certificate:
    """The node's certificate now."""
    return load_certificate(settings.folders.certificates / "node.pem")


@pytest.mark.parametrize(
    ("days", "names", "reason"),
    [
        (1095, NAMES, None),
        (101, NAMES, None),
        (99, NAMES, "it expires in 98 days"),
        (0, NAMES, "it expires in -1 days"),
        (1095, [*NAMES, "lb.example.com"], "its names have changed"),
        (1095, NAMES[:-1], "its names have changed"),
    ],
)
def test_when_it_must_be_renewed(
    tmp_path: Path, days: int, names: list[str], reason: str | None
) -> None:
    """Well before people are warned, and when it is not for just the names wanted."""
    make_node(tmp_path)
    issue_node_certificate(tmp_path, NAMES, days=days)
    certificate = load_certificate(tmp_path / "node.pem")

    assert renewal_reason(certificate, names, datetime.now(UTC)) == reason


def test_a_certificate_from_a_wrong_clock_is_renewed(tmp_path: Path) -> None:
    """What a host issued while its clock was ahead is no good afterwards."""
    certificate = load_certificate(make_node(tmp_path) / "node.pem")
    before = datetime.now(UTC) - timedelta(days=30)

    reason = renewal_reason(certificate, ["127.0.0.1", "console.example.com"], before)

    assert reason == "it is not valid yet"


def test_names_from_elsewhere_are_added(settings: Settings) -> None:
    """More names, and only those: one that was taken away goes."""
    folder = settings.folders.certificates
    make_node(folder)
    renewal = NodeCertificateRenewer(settings)
    for more in ((), ("lb.example.com", "10.0.0.50"), ("10.0.0.50",)):
        renewal.more_names = lambda more=more: more

        renewal.renew_if_due()

        wanted = {*NAMES, *more}
        alternative = own(settings).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        assert {str(name.value) for name in alternative.value} == wanted


def test_names_stay_while_the_database_does_not_answer(settings: Settings) -> None:
    """While the database does not answer, a certificate is not made poorer."""

    def silent() -> tuple[str, ...]:
        raise DatabaseError("the database does not answer")

    make_node(settings.folders.certificates)
    renewal = NodeCertificateRenewer(settings)
    renewal.more_names = silent
    before = own(settings)

    renewal.renew_if_due()

    assert own(settings) == before


@pytest.mark.parametrize(
    ("names", "days", "anew"),
    [
        pytest.param(NAMES, 1095, False, id="as-it-should-be"),
        pytest.param([*NAMES, "lb.example.com"], 1095, False, id="a-name-too-many"),
        pytest.param(NAMES[1:], 1095, True, id="another-address"),
        pytest.param(NAMES, 0, True, id="ended-while-switched-off"),
    ],
)
def test_at_its_start(
    settings: Settings, names: list[str], days: int, anew: bool
) -> None:
    """A node starts with a certificate that is in its time and has its names."""
    folder = settings.folders.certificates
    make_node(folder)
    issue_node_certificate(folder, names, days=days)
    before = own(settings)

    ensure_certificate_current(settings)

    assert (own(settings) != before) is anew


def test_a_server_follows_its_certificate(tmp_path: Path) -> None:
    """The next connection sees the new one, with the same key."""
    make_node(tmp_path)
    followed = ReloadingTlsContext(
        lambda: server_context(tmp_path, client=None), tmp_path
    )
    first = followed.current()
    issue_node_certificate(tmp_path, ["127.0.0.2"])
    client = client_context(tmp_path)
    client.check_hostname = False

    with serving(followed.current()) as (port, _):
        assert call(port, client) == "welcome"
    assert followed.current() is not first
    assert followed.current() is followed.current()


def test_a_damaged_renewal_is_not_used(tmp_path: Path) -> None:
    """A server goes on with what it has."""
    make_node(tmp_path)
    make: Callable[[], ssl.SSLContext] = lambda: server_context(tmp_path, client=None)  # noqa: E731
    followed = ReloadingTlsContext(make, tmp_path)
    first = followed.current()

    (tmp_path / "node.pem").write_text("damaged")

    assert followed.current() is first


@pytest.mark.parametrize(
    ("days_left", "told"),
    [(91, 0), (89, 1), (-1, 1)],
    ids=["far", "near", "over"],
)
def test_people_are_warned_before_a_certificate_ends(
    tmp_path: Path, days_left: int, told: int
) -> None:
    """From 90 days on; which one, when, and what to do."""
    ends = load_certificate(make_node(tmp_path) / "node.pem").not_valid_after_utc

    found = expiry_warnings(tmp_path, ends - timedelta(days=days_left))

    assert len(found) == told
    assert all(f"on {ends:%Y-%m-%d}. It should have been renewed" in f for f in found)


def test_the_end_of_the_authority_is_reported_too(tmp_path: Path) -> None:
    """Without it nothing of the Console is trusted any more."""
    ends = load_certificate(make_node(tmp_path) / "ca.pem").not_valid_after_utc

    found = expiry_warnings(tmp_path, ends - timedelta(days=30))

    assert any(
        one.startswith("The Console's certificate authority expires") for one in found
    )
