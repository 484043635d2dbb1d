"""OpenSSL's own program accepts our certificates, and agrees on their digests."""

import base64
import subprocess
from pathlib import Path

import pytest

from tests.unit.pki.test_certificates import make_node
from twistlock_console.pki.certificates import fingerprint, pin_of, public_key_pin


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with an authority and a node's certificate."""
    return make_node(tmp_path_factory.mktemp("node"))


@pytest.mark.parametrize(
    ("authority", "certificate"),
    [("ca.pem", "node.pem"), ("cluster-ca.pem", "cluster-bundle.pem")],
)
def test_certificates_satisfy_openssl(
    node: Path, authority: str, certificate: str
) -> None:
    """The strictest check of another program finds nothing."""
    answer = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", authority, certificate],
        cwd=node,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (answer.stdout, answer.stderr) == (f"{certificate}: OK\n", "")


def test_fingerprint_and_pin_are_those_of_openssl(node: Path) -> None:
    """Both are the SHA-256 of the public key."""
    command = (
        "openssl x509 -in node.pem -noout -pubkey | "
        "openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary"
    )
    answer = subprocess.run(
        ["sh", "-c", command], cwd=node, capture_output=True, timeout=120, check=True
    )
    pem = (node / "node.pem").read_bytes()

    assert fingerprint(pem) == answer.stdout.hex(":").upper()
    expected = f"sha256//{base64.b64encode(answer.stdout).decode()}"
    assert public_key_pin(pem) == expected
    assert pin_of(fingerprint(pem)) == expected
