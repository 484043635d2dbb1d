"""The cluster's own authority, and the move to it from the one of earlier releases."""

import shutil
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from tests.unit.pki.test_certificates import call, defender_context, make_node, serving
from twistlock_console.backups.operations.identity import install_identity
from twistlock_console.database.known_members import (
    read_known_members,
    write_known_members,
)
from twistlock_console.pki.authority import create_cluster_authority
from twistlock_console.pki.certificates import (
    complete_cluster_identity,
    enter_phase,
    issue_node_certificate,
    public_key_pin,
    stored_phase,
)
from twistlock_console.pki.identity_files import (
    CLUSTER_FILES,
    load_certificate,
    names_in,
)
from twistlock_console.pki.tls import Usage, client_context, server_context
from twistlock_console.pki.trust_phase import TrustPhase, next_phase
from twistlock_console.settings import Settings

UNKNOWN, ACCEPT_BOTH, PRESENT_CLUSTER, CLUSTER_ONLY = TrustPhase
#: Phases of a client and a server that do not accept each other.
INCOMPATIBLE = {
    (UNKNOWN, PRESENT_CLUSTER),
    (UNKNOWN, CLUSTER_ONLY),
    (PRESENT_CLUSTER, UNKNOWN),
    (CLUSTER_ONLY, UNKNOWN),
    (ACCEPT_BOTH, CLUSTER_ONLY),
}


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A folder of this release."""
    folder = tmp_path / "node"
    folder.mkdir()
    return make_node(folder)


@pytest.fixture(scope="module")
def of_phase(tmp_path_factory: pytest.TempPathFactory) -> dict[TrustPhase, Path]:
    """Nodes of one cluster, one in each phase; UNKNOWN is one of an earlier release."""
    root = tmp_path_factory.mktemp("phases")
    first = root / UNKNOWN.name
    first.mkdir()
    make_earlier(make_node(first))
    folders = {UNKNOWN: first}
    for phase in (ACCEPT_BOTH, PRESENT_CLUSTER, CLUSTER_ONLY):
        folders[phase] = root / phase.name
        shutil.copytree(first, folders[phase])
        complete_cluster_identity(folders[phase])
        if phase is not ACCEPT_BOTH:
            enter_phase(folders[phase], phase)
    return folders


def make_earlier(folder: Path) -> Path:
    """Take away what only this release has."""
    for name in CLUSTER_FILES:
        (folder / name).unlink()
    return folder


def context_of(folder: Path, phase: TrustPhase, protocol: int) -> ssl.SSLContext:
    """The context of a node's API or of a client of it; earlier releases had others."""
    if phase is not UNKNOWN:
        is_server = protocol == ssl.PROTOCOL_TLS_SERVER
        usage = Usage.NODE
        return (
            server_context(folder, client=usage)
            if is_server
            else client_context(folder)
        )
    context = ssl.SSLContext(protocol)
    context.load_cert_chain(folder / "node.pem", folder / "node-key.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def is_accepted(client: ssl.SSLContext, server: ssl.SSLContext) -> bool:
    """Return whether both complete the handshake."""
    with serving(server) as (port, _):
        try:
            return call(port, client) == "welcome"
        except OSError:
            return False


@pytest.mark.parametrize("client", TrustPhase)
@pytest.mark.parametrize("server", TrustPhase)
def test_neighbouring_phases_accept_each_other(
    of_phase: dict[TrustPhase, Path], client: TrustPhase, server: TrustPhase
) -> None:
    """Some that are further apart do not: hence one waits for the other."""
    asking = context_of(of_phase[client], client, ssl.PROTOCOL_TLS_CLIENT)
    answering = context_of(of_phase[server], server, ssl.PROTOCOL_TLS_SERVER)

    accepted = is_accepted(asking, answering)

    if abs(client - server) <= 1:
        assert accepted
    if (client, server) in INCOMPATIBLE:
        assert not accepted


@pytest.mark.parametrize(
    ("phase", "accepted"),
    [(ACCEPT_BOTH, True), (PRESENT_CLUSTER, True), (CLUSTER_ONLY, False)],
)
def test_a_defender_is_refused_by_the_handshake(
    of_phase: dict[TrustPhase, Path],
    tmp_path: Path,
    phase: TrustPhase,
    accepted: bool,
) -> None:
    """Once the cluster has moved; before, the node API refuses it after it."""
    defender = defender_context(of_phase[UNKNOWN], tmp_path)
    defender.load_verify_locations(of_phase[phase] / "cluster-ca.pem")
    nodes = server_context(of_phase[phase], client=Usage.NODE)

    assert is_accepted(defender, nodes) is accepted
    assert is_accepted(defender, server_context(of_phase[phase], client=Usage.DEFENDER))


def test_a_node_is_refused_by_the_defenders_port(node: Path) -> None:
    """Its certificate for nodes is not of the Defenders' authority."""
    defenders = server_context(node, client=Usage.DEFENDER)

    assert not is_accepted(client_context(node), defenders)


def test_the_service_certificate_opens_nothing_among_nodes(node: Path) -> None:
    """It is of the authority that Defenders have."""
    service = context_of(node, UNKNOWN, ssl.PROTOCOL_TLS_CLIENT)
    service.load_verify_locations(node / "cluster-ca.pem")

    assert not is_accepted(service, server_context(node, client=Usage.NODE))


def test_a_client_that_knows_the_first_authority_still_connects(node: Path) -> None:
    """Browsers, load balancers and Defenders verify the service ports with ca.pem."""
    browser = ssl.create_default_context(cafile=node / "ca.pem")

    assert is_accepted(browser, server_context(node, client=None))
    bundle = (node / "cluster-bundle.pem").read_bytes()
    assert public_key_pin(bundle) == public_key_pin((node / "node.pem").read_bytes())


def test_every_node_has_the_same_cluster_authority(node: Path, tmp_path: Path) -> None:
    """It follows from the first authority: a backup of that one brings it back."""
    other, stranger = tmp_path / "other", tmp_path / "stranger"
    for folder in (other, stranger):
        folder.mkdir()
    for name in ("ca.pem", "ca-key.pem"):
        shutil.copy(node / name, other / name)
    make_node(stranger)

    create_cluster_authority(other)

    ours, derived, theirs = (
        (folder / "cluster-ca.pem").read_bytes() for folder in (node, other, stranger)
    )
    assert derived == ours
    assert theirs != ours
    assert b"PRIVATE" not in ours


def test_another_authority_has_another_for_the_cluster(
    node: Path, tmp_path: Path
) -> None:
    """One that is left from before a restore of the keys is replaced."""
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    make_node(stranger)
    for name in ("ca.pem", "ca-key.pem"):
        shutil.copy(stranger / name, node / name)
    issue_node_certificate(node, ["127.0.0.1"])

    theirs = (stranger / "cluster-ca.pem").read_bytes()
    assert (node / "cluster-ca.pem").read_bytes() == theirs
    assert is_accepted(
        client_context(node), server_context(stranger, client=Usage.NODE)
    )


def test_restored_keys_bring_the_cluster_authority_back(
    node: Path, tmp_path: Path
) -> None:
    """A backup holds the first authority alone, also one of an earlier release."""
    backup = {name: (node / name).read_text() for name in ("ca.pem", "ca-key.pem")}
    lost = (node / "cluster-ca.pem").read_bytes()
    folders = Settings(node_address="10.0.0.9", data_folder=tmp_path / "new").folders
    folders.create()
    make_node(folders.certificates)
    write_known_members(folders, ["10.0.0.1"])

    install_identity(folders, backup)
    issue_node_certificate(folders.certificates, ["127.0.0.1"])

    assert stored_phase(folders.certificates) is CLUSTER_ONLY
    assert (folders.certificates / "cluster-ca.pem").read_bytes() == lost
    assert read_known_members(folders) == ()
    returned = client_context(folders.certificates)
    assert is_accepted(returned, server_context(node, client=Usage.NODE))


def test_a_folder_of_an_earlier_release_begins_with_the_first_phase(
    node: Path,
) -> None:
    """Also when its certificate is issued anew at the first start."""
    make_earlier(node)
    assert stored_phase(node) is UNKNOWN
    assert complete_cluster_identity(node) is ACCEPT_BOTH
    assert stored_phase(node) is ACCEPT_BOTH

    make_earlier(node)
    issue_node_certificate(node, ["127.0.0.1", "lb.example.com"])
    assert stored_phase(node) is ACCEPT_BOTH


@pytest.mark.parametrize("phase", [ACCEPT_BOTH, PRESENT_CLUSTER, CLUSTER_ONLY])
def test_a_renewal_keeps_the_phase(node: Path, phase: TrustPhase) -> None:
    """New names are in both certificates, and nothing else changes."""
    enter_phase(node, phase)

    issue_node_certificate(node, ["127.0.0.1", "lb.example.com"])

    assert stored_phase(node) is phase
    shown = load_certificate(node / "cluster-bundle.pem")
    assert names_in(shown) == {"127.0.0.1", "lb.example.com"}
    assert shown.not_valid_after_utc.date() == (
        load_certificate(node / "node.pem").not_valid_after_utc.date()
    )


@pytest.mark.parametrize("damage", [None, b"", b"garbage"])
@pytest.mark.parametrize("name", CLUSTER_FILES)
@pytest.mark.parametrize("phase", [ACCEPT_BOTH, PRESENT_CLUSTER, CLUSTER_ONLY])
def test_a_damaged_file_is_made_again(
    node: Path, phase: TrustPhase, name: str, damage: bytes | None
) -> None:
    """In the phase of before, where the other files tell it; never in a later one."""
    enter_phase(node, phase)
    (node / name).unlink()
    if damage is not None:
        (node / name).write_bytes(damage)
        (node / name).chmod(0o600)

    completed = complete_cluster_identity(node)

    assert completed <= phase
    assert stored_phase(node) is completed
    assert is_accepted(client_context(node), server_context(node, client=Usage.NODE))


@pytest.mark.parametrize(
    ("own", "others", "following"),
    [
        (ACCEPT_BOTH, [], PRESENT_CLUSTER),
        (PRESENT_CLUSTER, [], CLUSTER_ONLY),
        (CLUSTER_ONLY, [], None),
        (ACCEPT_BOTH, [UNKNOWN, CLUSTER_ONLY], None),
        (ACCEPT_BOTH, [ACCEPT_BOTH, PRESENT_CLUSTER], PRESENT_CLUSTER),
        (PRESENT_CLUSTER, [ACCEPT_BOTH, PRESENT_CLUSTER], None),
        (PRESENT_CLUSTER, [CLUSTER_ONLY, PRESENT_CLUSTER], CLUSTER_ONLY),
        (CLUSTER_ONLY, [UNKNOWN], None),
    ],
)
def test_a_node_waits_for_the_others(
    own: TrustPhase, others: list[TrustPhase], following: TrustPhase | None
) -> None:
    """One phase at a time, when all others have come as far."""
    assert next_phase(own, others) is following


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60), st.data())
@limits(max_examples=200, deadline=None)
def test_no_two_nodes_are_ever_too_far_apart(
    events: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """Whatever the order, and though a node knows of others only what was true once."""
    phases = [UNKNOWN, UNKNOWN, UNKNOWN]
    for index, upgrades in events:
        if phases[index] is UNKNOWN:
            phases[index] = ACCEPT_BOTH if upgrades else UNKNOWN
            continue
        known = [
            TrustPhase(data.draw(st.integers(0, phases[other])))
            for other in range(3)
            if other != index
        ]
        phases[index] = next_phase(phases[index], known) or phases[index]

        assert max(phases) - min(phases) <= 1


def test_all_nodes_arrive() -> None:
    """Once the last one has the new release, all of them end in the last phase."""
    phases = [ACCEPT_BOTH, PRESENT_CLUSTER, ACCEPT_BOTH]
    for turn in range(12):
        index = turn % 3
        others = [phase for other, phase in enumerate(phases) if other != index]
        phases[index] = next_phase(phases[index], others) or phases[index]

    assert phases == [CLUSTER_ONLY] * 3
