"""One authority, two usages, and nobody else gets in."""

import socket
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.authority import (
    create_authority,
    sign_cluster_request,
    sign_request,
)
from twistlock_console.pki.certificates import (
    accepted_authorities,
    fingerprint,
    issue_node_certificate,
    public_key_pin,
    store_cluster_identity,
    store_node_certificate,
)
from twistlock_console.pki.identity_files import make_key, make_request
from twistlock_console.pki.tls import (
    Identity,
    Usage,
    client_context,
    peer_identity,
    server_context,
)
from twistlock_console.pki.trust_phase import TrustPhase

NAMES = ["127.0.0.1", "console.example.com"]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with an authority and a node's certificate."""
    return make_node(tmp_path_factory.mktemp("node"))


def make_node(folder: Path) -> Path:
    """Make all of a first node's files in *folder*."""
    create_authority(folder)
    issue_node_certificate(folder, NAMES)
    return folder


def defender_context(node: Path, folder: Path) -> ssl.SSLContext:
    """Make the client context of a Defender that *node* admitted."""
    make_key(folder / "key.pem")
    request = make_request(folder / "key.pem", "whatever")
    certificate = sign_request(
        node, request, usage=Usage.DEFENDER, common_name="web-1", names=[]
    )
    (folder / "cert.pem").write_bytes(certificate)
    context = ssl.create_default_context(cafile=node / "ca.pem")
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[tuple[int, list[object]]]:
    """Accept one TLS client; give the port, and what became of the client."""
    outcome: list[object] = []

    def accept() -> None:
        try:
            connection, _ = listener.accept()
            connection.settimeout(10)
            with context.wrap_socket(connection, server_side=True) as tls:
                der = tls.getpeercert(binary_form=True)
                outcome.append(peer_identity(der) if der else "no certificate")
                tls.sendall(b"welcome")
        except OSError as error:
            outcome.append(error)
        finally:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1], outcome
        finally:
            thread.join(60)


def call(port: int, context: ssl.SSLContext, name: str = "127.0.0.1") -> str:
    """Connect to *port* and give what the server says first."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=120) as plain,
        context.wrap_socket(plain, server_hostname=name) as tls,
    ):
        return tls.recv(100).decode()


@pytest.mark.parametrize("name", NAMES)
def test_a_node_is_let_in_and_known(node: Path, name: str) -> None:
    """Each of the server's names is right, and the client is known as a node."""
    with serving(server_context(node, client=Usage.NODE)) as (port, outcome):
        answer = call(port, client_context(node), name)

    [identity] = outcome
    assert answer == "welcome"
    assert isinstance(identity, Identity)
    assert (identity.usage, identity.common_name) == (Usage.NODE, "127.0.0.1")


def test_a_defender_is_distinguished_from_a_node(node: Path, tmp_path: Path) -> None:
    """Its request asked for another name; only what the authority wrote counts."""
    context = defender_context(node, tmp_path)
    with serving(server_context(node, client=Usage.DEFENDER)) as (port, outcome):
        answer = call(port, context)

    certificate = x509.load_pem_x509_certificate((tmp_path / "cert.pem").read_bytes())
    serial, expires = certificate.serial_number, certificate.not_valid_after_utc
    assert answer == "welcome"
    begins = certificate.not_valid_before_utc
    assert outcome == [Identity(Usage.DEFENDER, "web-1", serial, expires, begins)]


def test_a_defender_cannot_be_a_server(node: Path, tmp_path: Path) -> None:
    """Its certificate is for clients: a stolen one cannot pose as the Console."""
    defender_context(node, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    client = client_context(node)
    client.check_hostname = False

    with (
        serving(context) as (port, _),
        pytest.raises(ssl.SSLCertVerificationError, match="purpose"),
    ):
        call(port, client)


def test_a_client_without_a_certificate_is_refused(node: Path) -> None:
    """A client that only knows our authority hears nothing."""
    bare = ssl.create_default_context(cafile=node / "cluster-ca.pem")

    with (
        serving(server_context(node, client=Usage.NODE)) as (port, outcome),
        pytest.raises(ssl.SSLError, match=r"CERTIFICATE_REQUIRED|certificate required"),
    ):
        call(port, bare)

    assert "did not return a certificate" in str(outcome)


def test_a_stranger_does_not_get_in(node: Path, tmp_path: Path) -> None:
    """A certificate of another Console's authority is worth nothing here."""
    stranger = client_context(make_node(tmp_path))
    stranger.load_verify_locations(node / "cluster-ca.pem")

    with (
        serving(server_context(node, client=Usage.NODE)) as (port, outcome),
        pytest.raises(OSError, match=r"(?i)unknown.ca|reset by peer"),
    ):
        call(port, stranger)

    assert "verify failed" in str(outcome)


def test_a_stranger_is_not_believed(node: Path, tmp_path: Path) -> None:
    """A node talks to no server of another authority, and to none by another name."""
    theirs = server_context(make_node(tmp_path), client=None)
    with (
        serving(theirs) as (port, _),
        pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"),
    ):
        call(port, client_context(node))
    with (
        serving(server_context(node, client=None)) as (port, _),
        pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
    ):
        call(port, client_context(node), "other.example.com")


def test_browsers_need_no_certificate(node: Path) -> None:
    """The pages are for anyone who trusts our authority, from TLS 1.2 on."""
    browser = ssl.create_default_context(cafile=node / "ca.pem")
    browser.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(server_context(node, client=None)) as (port, outcome):
        answer = call(port, browser, "console.example.com")

    assert answer == "welcome"
    assert outcome == ["no certificate"]


def test_with_client_certificates_tls_is_1_3(node: Path) -> None:
    """Tickets, which no other node could use, are not sent."""
    context = server_context(node, client=Usage.DEFENDER)

    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.num_tickets == 0


def test_lifetimes_and_modes(node: Path) -> None:
    """Three and ten years, from yesterday; keys are for their owner alone."""
    year = timedelta(days=365)
    lifetimes = {"node.pem": 3, "cluster-bundle.pem": 3, "ca.pem": 10}
    for name, years in {**lifetimes, "cluster-ca.pem": 10}.items():
        certificate = x509.load_pem_x509_certificate((node / name).read_bytes())
        age = datetime.now(UTC) - certificate.not_valid_before_utc
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        assert timedelta(days=1) <= age < timedelta(days=1, hours=1)
        assert years * year - timedelta(hours=1) < left <= years * year
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in node.iterdir()}
    assert modes == {
        "ca.pem": 0o644,
        "ca-key.pem": 0o600,
        "node.pem": 0o644,
        "node-key.pem": 0o600,
        "node-bundle.pem": 0o600,
        "cluster-ca.pem": 0o644,
        "cluster-bundle.pem": 0o600,
        "cluster-trust.pem": 0o644,
    }


def test_the_bundle_is_certificate_and_key(node: Path) -> None:
    """mongod wants both in one file."""
    both = (node / "node.pem").read_text() + (node / "node-key.pem").read_text()

    assert (node / "node-bundle.pem").read_text() == both


def test_an_authority_is_made_once(tmp_path: Path) -> None:
    """Calling again changes nothing; a new certificate keeps the pinned key."""
    make_node(tmp_path)
    authority = (tmp_path / "ca.pem").read_bytes()
    before = (tmp_path / "node.pem").read_bytes()

    create_authority(tmp_path)
    issue_node_certificate(tmp_path, ["127.0.0.2"])

    after = (tmp_path / "node.pem").read_bytes()
    assert (tmp_path / "ca.pem").read_bytes() == authority
    assert after != before
    assert public_key_pin(after) == public_key_pin(before)


def test_a_joining_node_gets_its_certificate(node: Path, tmp_path: Path) -> None:
    """Its key never leaves it: the request goes out, the certificate comes in."""
    make_key(tmp_path / "node-key.pem")
    request = make_request(tmp_path / "node-key.pem", "127.0.0.1")
    certificate = sign_request(
        node, request, usage=Usage.NODE, common_name="127.0.0.1", names=["127.0.0.1"]
    )
    (tmp_path / "ca.pem").write_bytes((node / "ca.pem").read_bytes())

    store_node_certificate(tmp_path, certificate)
    cluster = sign_cluster_request(node, request, ["127.0.0.1"])
    trust = accepted_authorities(node, TrustPhase.CLUSTER_ONLY)
    store_cluster_identity(tmp_path, cluster, trust)

    with serving(server_context(node, client=Usage.NODE)) as (port, _):
        assert call(port, client_context(tmp_path)) == "welcome"
    assert fingerprint(request) == fingerprint(certificate)


def test_a_certificate_for_another_key_is_not_kept(node: Path, tmp_path: Path) -> None:
    """A node would not start with it."""
    make_key(tmp_path / "node-key.pem")

    with pytest.raises(IdentityError, match="is not for the key"):
        store_node_certificate(tmp_path, (node / "node.pem").read_bytes())
    trust = (node / "cluster-trust.pem").read_bytes()
    with pytest.raises(IdentityError, match="is not for the key"):
        store_cluster_identity(
            tmp_path, (node / "cluster-bundle.pem").read_bytes(), trust
        )


def request_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """Make a request for any kind of key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def tampered_request() -> bytes:
    """Make a request whose signature is for other content."""
    pem = request_of(ec.generate_private_key(ec.SECP256R1()))
    der = bytearray(x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER))
    der[der.index(b"x")] = ord("y")
    return x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    "request_pem",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"garbage", id="garbage"),
        pytest.param(request_of(rsa.generate_private_key(65537, 2048)), id="rsa"),
        pytest.param(request_of(ec.generate_private_key(ec.SECP384R1())), id="curve"),
        pytest.param(tampered_request(), id="signature"),
    ],
)
def test_other_requests_are_not_signed(node: Path, request_pem: bytes) -> None:
    """Only a P-256 key whose holder signed the request gets a certificate."""
    with pytest.raises(IdentityError, match="the certificate request is"):
        sign_request(
            node, request_pem, usage=Usage.NODE, common_name="x", names=["127.0.0.1"]
        )


@pytest.mark.parametrize(("common_name", "name"), [("", "a"), ("a", "größe")])
def test_what_is_no_name_is_not_signed(node: Path, common_name: str, name: str) -> None:
    """An empty or unfit name is refused, not written into a certificate."""
    request = make_request(node / "node-key.pem", "x")

    with pytest.raises(IdentityError, match="is not a valid name"):
        sign_request(
            node, request, usage=Usage.NODE, common_name=common_name, names=[name]
        )


FILES_OF_SERVICE = ("node.pem", "ca.pem", "node-key.pem")
FILES_OF_NODES = ("cluster-bundle.pem", "cluster-trust.pem", "node-key.pem")


@pytest.mark.parametrize("name", sorted({*FILES_OF_SERVICE, *FILES_OF_NODES}))
@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\n", None]
)
def test_damaged_files_are_named(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    """The sentence has the file's path and what to do, not OpenSSL's words."""
    path = make_node(tmp_path) / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)

    makers: list[Callable[[], object]] = []
    if name in FILES_OF_SERVICE:
        makers.append(lambda: server_context(tmp_path, client=None))
    if name in FILES_OF_NODES:
        makers.append(lambda: server_context(tmp_path, client=Usage.NODE))
    for make in makers:
        with pytest.raises(IdentityError) as error:
            make()
        assert str(path) in str(error.value)
        assert "restore it from a backup" in str(error.value)


def test_a_key_open_to_others_is_refused(tmp_path: Path) -> None:
    """A node does not serve with a key that others may have read."""
    (make_node(tmp_path) / "node-key.pem").chmod(0o644)

    with pytest.raises(IdentityError, match="chmod 600"):
        client_context(tmp_path)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Our certificates are for elliptic-curve keys."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (make_node(tmp_path) / "node-key.pem").write_bytes(pem)

    with pytest.raises(IdentityError, match="not an elliptic-curve key"):
        client_context(tmp_path)


def test_another_certificates_key_is_refused(tmp_path: Path) -> None:
    """A key and a certificate that do not belong together are named both."""
    make_key(make_node(tmp_path) / "node-key.pem")

    with pytest.raises(IdentityError, match="do not belong together"):
        client_context(tmp_path)


@pytest.mark.parametrize(
    ("begins", "words"), [(-10, "expired on"), (10, "is valid from")]
)
def test_a_certificate_out_of_its_time_is_refused(
    tmp_path: Path, begins: int, words: str
) -> None:
    """The operator is pointed to the clock, which may be what is wrong."""
    make_node(tmp_path)
    old = x509.load_pem_x509_certificate((tmp_path / "node.pem").read_bytes())
    start = datetime.now(UTC) + timedelta(days=begins)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=5))
        .sign(key, SHA256())
    )
    (tmp_path / "node.pem").write_bytes(certificate.public_bytes(Encoding.PEM))

    with pytest.raises(IdentityError, match=f"node.pem {words} .* clock"):
        server_context(tmp_path, client=None)


def test_an_unreadable_peer_is_an_error() -> None:
    """What is no certificate is nobody's."""
    with pytest.raises(IdentityError, match="cannot be read"):
        peer_identity(b"garbage")


def test_a_certificate_without_our_usage_has_none(node: Path) -> None:
    """The authority itself is neither a node nor a Defender."""
    authority = x509.load_pem_x509_certificate((node / "ca.pem").read_bytes())

    identity = peer_identity(authority.public_bytes(Encoding.DER))

    assert identity.usage is None
    assert identity.common_name == "Twistlock Console CA"
