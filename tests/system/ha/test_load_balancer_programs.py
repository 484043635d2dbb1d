"""HAProxy, nginx and dnsmasq accept the configuration that the product makes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from plugins.ha.load_balancer.templates import (
    FILES,
    LoadBalancedCluster,
    LoadBalancerKind,
    render,
)
from tests.unit.ha.test_load_balancers import example
from twistlock_console.pki.authority import create_authority

NODES = ("192.0.2.1", "192.0.2.2", "192.0.2.3")


@pytest.mark.parametrize("pages_port", [9443, None])
@pytest.mark.parametrize(
    ("kind", "check"),
    [
        pytest.param(
            LoadBalancerKind.HAPROXY,
            ["haproxy", "-c", "-f"],
            marks=pytest.mark.needs("haproxy"),
        ),
        pytest.param(
            LoadBalancerKind.NGINX,
            ["nginx", "-t", "-c"],
            marks=pytest.mark.needs("nginx", root=True),
        ),
        pytest.param(
            LoadBalancerKind.DNS,
            ["dnsmasq", "--test", "-C"],
            marks=pytest.mark.needs("dnsmasq"),
        ),
    ],
)
def test_the_real_program_takes_it(
    kind: LoadBalancerKind, check: list[str], pages_port: int | None, tmp_path: Path
) -> None:
    """Each can check its own file."""
    create_authority(tmp_path)
    front = LoadBalancedCluster(NODES, "console.test", 9083, pages_port, 9084)
    file = tmp_path / FILES[kind]
    text = render(example(kind), front)
    text = text.replace("/etc/haproxy/twistlock-ca.pem", str(tmp_path / "ca.pem"))
    file.write_text(text)
    path = shutil.which(check[0], path="/usr/sbin:/usr/bin")
    assert path is not None
    told = subprocess.run(
        [path, *check[1:], file], capture_output=True, text=True, timeout=120
    )

    assert told.returncode == 0, told.stderr
