"""The compliance checks, against hosts that are made up below a folder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from twistlock_defender import checks


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host on which nothing is wrong."""
    for folder in ("etc/ssh/sshd_config.d", "etc/docker", "proc/sys/kernel", "usr"):
        (tmp_path / folder).mkdir(parents=True)
    config = "Include sshd_config.d/*.conf\nPermitRootLogin no\nMaxAuthTries 3\n"
    write(tmp_path / "etc/ssh/sshd_config", config, 0o600)
    write(tmp_path / "etc/passwd", "root:x:0:0\nweb:x:33:33\n", 0o644)
    write(tmp_path / "etc/shadow", "root:!:1\nweb:*:1\n", 0o640)
    write(tmp_path / "etc/docker/daemon.json", "{}", 0o644)
    write(tmp_path / "proc/sys/kernel/randomize_va_space", "2\n")
    return tmp_path


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Put *text* at *path*."""
    path.write_text(text)
    path.chmod(mode)


def failed(root: Path) -> dict[str, str]:
    """The checks that fail, and why."""
    return {r.id: r.detail for r in checks.run_checks(None, root) if not r.passed}


@pytest.mark.needs(root=True)
def test_nothing_is_wrong_on_a_good_host(root: Path) -> None:
    """What is not installed is not wrong either."""
    assert failed(root) == {}
    assert len(checks.CHECKS) >= 12


@pytest.mark.needs(root=True)
@pytest.mark.parametrize(
    ("name", "text", "mode", "check", "detail"),
    [
        (
            "etc/ssh/sshd_config.d/a.conf",
            "PermitRootLogin yes\n",
            0o600,
            "ssh-root-login",
            "PermitRootLogin is yes; set it to no",
        ),
        (
            "etc/ssh/sshd_config",
            "PermitRootLogin no\nMaxAuthTries=4\nMatch User a\nMaxAuthTries 9\n"
            "PermitEmptyPasswords yes\n",
            0o644,
            "ssh-settings-rights",
            "run: chmod 0600",
        ),
        (
            "etc/ssh/sshd_config",
            "permitrootlogin no\nmaxauthtries 9\n",
            0o600,
            "ssh-tries",
            "MaxAuthTries is 9",
        ),
        ("etc/shadow", "root::1\n", 0o640, "empty-passwords", "no password: root"),
        ("etc/shadow", "root:!:1\n", 0o644, "shadow-rights", "has mode 0644"),
        (
            "etc/passwd",
            "root:x:0:0\ntoor:x:0:0\n",
            0o644,
            "other-roots",
            "user id 0 is also that of toor",
        ),
        ("usr/open", "", 0o666, "writable-files", "usr/open"),
        (
            "etc/docker/daemon.json",
            json.dumps({"hosts": ["tcp://0.0.0.0"]}),
            0o644,
            "docker-network",
            "Docker accepts any client on tcp://0.0.0.0",
        ),
        (
            "etc/docker/daemon.json",
            json.dumps({"insecure-registries": ["a"]}),
            0o644,
            "docker-registries",
            "registries without TLS",
        ),
        (
            "proc/sys/kernel/randomize_va_space",
            "0",
            0o644,
            "address-randomization",
            "sysctl -w kernel.randomize_va_space=2",
        ),
    ],
)
def test_what_is_wrong_is_told(
    root: Path, name: str, text: str, mode: int, check: str, detail: str
) -> None:
    """That check alone fails, and says what to do."""
    write(root / name, text, mode)

    found = failed(root)

    assert list(found) == [check]
    assert detail in found[check]


def test_checks_are_chosen_by_id(root: Path) -> None:
    """And unknown ids are known to be unknown."""
    assert [r.id for r in checks.run_checks(["other-roots"], root)] == ["other-roots"]
    assert checks.unknown_ids(["other-roots", "x"]) == ["x"]


def test_a_check_that_fails_in_an_unforeseen_way_stops_no_other(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not passed, and the run goes on."""

    def fail(_: Path) -> str | None:
        raise RuntimeError("unforeseen")

    first, *others = checks.CHECKS
    monkeypatch.setattr(checks, "CHECKS", (replace(first, find_fault=fail), *others))

    found = {result.id: result for result in checks.run_checks(None, root)}

    assert "the check failed" in found[first.id].detail
    assert len(found) == len(checks.CHECKS)
