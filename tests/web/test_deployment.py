"""Rules of deploying Defenders: command, script, package and certificate."""

import io
import re
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from flask import Flask
from pymongo.database import Database
from web_visitor import Visitor, basic

from twistlock_console.common.errors import Refused
from twistlock_console.defenders.enrolment import enrol
from twistlock_console.defenders.package import PACKAGE, RELEASE, defender_package
from twistlock_console.pki.certificates import make_key, make_request
from twistlock_console.settings import Settings
from twistlock_console.web.common.database import storage_of

DEPLOY = "/manage/defenders/deploy"
ENROL = "/api/v1/defenders/enrol"
SCRIPT = "/api/v1/scripts/defender.sh"
WHEEL = bytes(1 << 20)
Store = Database[dict[str, Any]]


@pytest.fixture
def database(app: Flask) -> Store:
    """The application's database."""
    return storage_of(app).database()


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """This node's certificate is for the loopback alone, which no host can use."""
    monkeypatch.setattr("twistlock_console.defenders.deployment.OWN", {"localhost"})


@pytest.fixture
def request_pem(tmp_path: Path) -> str:
    """A certificate request."""
    make_key(tmp_path / "key.pem")
    return make_request(tmp_path / "key.pem", "anything").decode()


def _enrol(visitor: Visitor, token: str, name: str, request_pem: str) -> Any:
    body = {"defender": name, "request": request_pem}
    return visitor.call(ENROL, body, Authorization=f"Bearer {token}")


@pytest.fixture
def token(admin: Visitor) -> str:
    """A deploy token, made on the page by the administrator."""
    page = admin.send(DEPLOY, name="127.0.0.1").text
    found = re.search(r"deploy-[\w-]{43}", page)
    assert found, page
    return found[0]


def test_the_page_gives_one_command(admin: Visitor, token: str) -> None:
    """Its token is shown once, can be revoked, and is on record."""
    page = admin.get(DEPLOY).text
    shown = re.search(r'name="id" value="([0-9a-f]{12})"', page)
    assert shown
    admin.send(f"{DEPLOY}/revoke", form_on=DEPLOY, id=shown[1])
    script = admin.get(SCRIPT, Authorization=f"Bearer {token}").text

    assert token not in page
    assert "is not known, or has ended" in script
    assert subprocess.run(["bash", "-c", script], check=False).returncode == 1
    history = admin.get("/manage/logs/history").text
    assert "Made a command that deploys Defenders by 127.0.0.1" in history


def test_an_unknown_name_is_refused(admin: Visitor) -> None:
    """The Console's certificate would not be for it."""
    answer = admin.send(DEPLOY, name="console.elsewhere")

    assert answer.status_code == 400
    assert "is not a name of this Console" in answer.text


def test_the_script_carries_the_token_it_was_asked_with(
    admin: Visitor, token: str
) -> None:
    """An account may read it, and then no host enrols with it."""
    path = f"{SCRIPT}?consoleaddr=127.0.0.1"
    script = admin.get(path, Authorization=f"Bearer {token}").text
    read = admin.get(path, Authorization=basic()).text
    bad = admin.get(f"{SCRIPT}?consoleaddr=$(id)", Authorization=basic())

    assert f"TOKEN={token}\n" in script
    assert "CONSOLE=127.0.0.1:8083\n" in script
    assert "TOKEN=''\n" in read
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    assert bad.status_code == 400


def test_a_host_gets_a_certificate_for_its_name(
    admin: Visitor, database: Store, token: str, request_pem: str
) -> None:
    """Anew it gets another one, and the first is revoked; the token counts hosts."""
    first = _enrol(admin, token, "web-1", request_pem).get_json()
    second = _enrol(admin, token, "web-1", request_pem).get_json()

    certificate = x509.load_pem_x509_certificate(first["certificate"].encode())
    assert certificate.subject.rfc4514_string().startswith("CN=web-1,OU=defender")
    assert first["certificate"] != second["certificate"]
    assert first["addresses"] == ["127.0.0.1"]
    serial = f"{certificate.serial_number:x}"
    assert database["revoked_certificates"].find_one({"_id": serial})
    assert database["deploy_tokens"].find_one({"used": 2})


def test_of_hosts_with_one_name_the_last_has_it(
    database: Store, running: Settings, request_pem: str
) -> None:
    """However many ask at once: what the others were given counts no more."""
    folder = running.folders.certificates

    def ask(_number: int) -> str:
        made = enrol(database, folder, "web-1", request_pem)
        return f"{x509.load_pem_x509_certificate(made.encode()).serial_number:x}"

    with ThreadPoolExecutor(8) as hosts:
        given = set(hosts.map(ask, range(8)))

    revoked = set(database["revoked_certificates"].distinct("_id"))
    entry = database["defenders"].find_one({"_id": "web-1"})
    assert entry
    assert given - revoked == {entry["certificate"]["serial"]}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("web-1", "is connected", id="connected"),
        pytest.param("../etc", "no name", id="no-name"),
        pytest.param("a$", "no name", id="sign"),
    ],
)
def test_a_name_may_be_refused(
    *,
    admin: Visitor,
    database: Store,
    token: str,
    request_pem: str,
    name: str,
    words: str,
) -> None:
    """Nobody takes the name of a Defender that is at work."""
    database["defenders"].insert_one({"_id": "web-1", "connected": True})

    answer = _enrol(admin, token, name, request_pem)

    assert answer.status_code == 400
    assert words in answer.get_json()["err"]


def test_enrolment_needs_a_deploy_token(
    admin: Visitor, database: Store, token: str, request_pem: str
) -> None:
    """No account does, and no token that is damaged; a request must be one."""
    body = {"defender": "web-1", "request": request_pem}
    by_account = admin.call(ENROL, body, Authorization=basic())
    damaged = _enrol(admin, "deploy-x", "web-1", request_pem)
    no_request = _enrol(admin, token, "web-1", "nonsense")

    assert [by_account.status_code, damaged.status_code] == [403, 401]
    assert no_request.status_code == 400
    assert database["defenders"].count_documents({}) == 0


def test_the_package_has_the_wheels_that_a_defender_needs(
    admin: Visitor, running: Settings, token: str
) -> None:
    """Out of the release that this node was installed from, and nothing else of it."""
    images = running.folders.images
    images.mkdir(exist_ok=True)
    with pytest.raises(Refused, match="put the release tarball"):
        defender_package(images)
    names = ["websockets-17-py3-none-any.whl", "flask-3-py3-none-any.whl"]
    with tarfile.open(images / RELEASE, "w:gz") as release:
        for name in [*names, "pydantic_core-2-cp311-cp311-x.whl", "README.md"]:
            member = tarfile.TarInfo(f"twistlock/wheels/{name}")
            member.size = len(WHEEL)
            release.addfile(member, io.BytesIO(WHEEL))
    with ThreadPoolExecutor(8) as hosts:
        list(hosts.map(defender_package, [images] * 8))
    path = f"/api/v1/images/{PACKAGE}"
    with admin.get(path, Authorization=f"Bearer {token}") as answer:
        sent = answer.data
    (images / RELEASE).unlink()
    (images / PACKAGE).unlink()

    with tarfile.open(fileobj=io.BytesIO(sent)) as package:
        assert package.getnames() == [names[0], "pydantic_core-2-cp311-cp311-x.whl"]
