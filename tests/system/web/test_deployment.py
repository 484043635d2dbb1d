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

from tests.web.web_visitor import HTTPS, Visitor, basic
from twistlock_console.accounts import users
from twistlock_console.accounts.passwords import hash_password
from twistlock_console.accounts.rights import UserRole
from twistlock_console.common.errors import Refused
from twistlock_console.defenders import enrolled
from twistlock_console.defenders.deployment import PACKAGE, RELEASE, defender_package
from twistlock_console.defenders.enrolled import IssuedCertificate
from twistlock_console.defenders.enrolment import EnrolmentRequest, enrol
from twistlock_console.pki.authority import sign_request
from twistlock_console.pki.identity_files import make_key, make_request
from twistlock_console.pki.tls import Usage
from twistlock_console.revocation.store import RevocationKind, read_revoked
from twistlock_console.settings import Settings
from twistlock_console.web.common.database import storage_of

DEPLOY = "/manage/defenders/deploy"
ENROL = "/api/v1/defenders/enrol"
SCRIPT = "/api/v1/scripts/defender.sh"
WHEEL = bytes(1 << 20)
Store = Database[dict[str, Any]]


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow the loopback name: the certificate of the test's node has no other."""
    monkeypatch.setattr(
        "twistlock_console.defenders.deployment.LOCAL_NAMES", {"localhost"}
    )


@pytest.fixture
def request_pem(tmp_path: Path) -> str:
    """Return a certificate request as PEM."""
    make_key(tmp_path / "key.pem")
    return make_request(tmp_path / "key.pem", "anything").decode()


def _enrol(visitor: Visitor, token: str, name: str, request_pem: str) -> Any:
    body = {"defender": name, "request": request_pem}
    return visitor.call(ENROL, body, Authorization=f"Bearer {token}")


def _delete(admin: Visitor, path: str) -> Any:
    headers = {"Authorization": basic()}
    return admin.client.delete(path, base_url=HTTPS, headers=headers)


@pytest.fixture
def token(admin: Visitor) -> str:
    """Return a deploy token that the administrator created on the page."""
    page = admin.send(DEPLOY, name="127.0.0.1").text
    found = re.search(r"deploy-[\w-]{43}", page)
    assert found, page
    return found[0]


def test_the_page_gives_one_command(admin: Visitor, token: str) -> None:
    """Its token is shown once and can be revoked; the audit trail has both."""
    page = admin.get(DEPLOY).text
    shown = re.search(r'name="id" value="([0-9a-f]{12})"', page)
    assert shown
    admin.send(f"{DEPLOY}/revoke", form_on=DEPLOY, id=shown[1])
    script = admin.get(SCRIPT, Authorization=f"Bearer {token}").text
    known = _enrol(admin, token, "web-1", "a request")
    unknown = _enrol(admin, f"deploy-{'x' * 43}", "web-1", "a request")

    assert [known.status_code, unknown.status_code] == [401, 401]
    [(tried, failed)] = _history(admin)
    assert failed
    assert tried.startswith("refused to enrol a Defender: The deploy token was revoked")
    assert shown[1] not in admin.get(DEPLOY).text
    assert token not in page
    assert "was revoked, is not known, or has ended" in script
    assert subprocess.run(["bash", "-c", script], check=False).returncode == 1
    history = admin.get("/manage/logs/history").text
    assert "Created a deploy command for the Console name 127.0.0.1" in history


def test_an_unknown_name_is_refused(admin: Visitor) -> None:
    """The Console's certificate would not be for it."""
    answer = admin.send(DEPLOY, name="console.elsewhere")

    assert answer.status_code == 400
    assert "is not a name of this Console" in answer.text


def test_the_script_carries_the_token_it_was_asked_with(
    admin: Visitor, token: str
) -> None:
    """Downloaded with an account it has no token, and no host can enrol with it."""
    path = f"{SCRIPT}?consoleaddr=127.0.0.1"
    script = admin.get(path, Authorization=f"Bearer {token}").text
    read = admin.get(path, Authorization=basic()).text
    bad = admin.get(f"{SCRIPT}?consoleaddr=$(id)", Authorization=basic())

    assert f"TOKEN={token}\n" in script
    assert "CONSOLE=127.0.0.1:8083\n" in script
    assert "TOKEN=''\n" in read
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    assert bad.status_code == 400


def _serial(answer: Any) -> str:
    """Return the serial number of the certificate in *answer*."""
    pem = answer.get_json()["certificate"].encode()
    return f"{x509.load_pem_x509_certificate(pem).serial_number:x}"


def _history(admin: Visitor) -> list[tuple[str, bool]]:
    """Return the uses of the deploy command in the audit trail, the latest first."""
    path = "/api/v1/audits/mgmt?type=defender"
    found = admin.get(path, Authorization=basic()).get_json()
    return [
        (each["status"], each["failure"])
        for each in found
        if each["username"].startswith("deploy command ")
    ]


def test_a_host_gets_a_certificate_for_its_name(
    admin: Visitor, database: Store, token: str, request_pem: str
) -> None:
    """With the same key it gets a new certificate, and the first is revoked."""
    first = _enrol(admin, token, "web-1", request_pem)
    second = _enrol(admin, token, "WEB-1", request_pem)

    pem = first.get_json()["certificate"]
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert certificate.subject.rfc4514_string().startswith("CN=web-1,OU=defender")
    assert first.get_json()["addresses"] == ["127.0.0.1"]
    assert read_revoked(database, RevocationKind.CERTIFICATE) == {_serial(first)}
    assert database["defenders"].distinct("_id") == ["WEB-1"]
    assert database["deploy_tokens"].find_one({"used": 2})
    assert _history(admin) == [
        ("enrolled the Defender WEB-1: the host holds the key of this name", False),
        ("enrolled the Defender web-1: a new name", False),
    ]
    assert _serial(second) not in read_revoked(database, RevocationKind.CERTIFICATE)


def test_one_of_several_hosts_gets_a_new_name(
    database: Store, running: Settings, tmp_path: Path
) -> None:
    """This holds for concurrent requests, and for names in other cases."""
    folder = running.folders.certificates

    def ask(number: int) -> bool:
        request = _new_request(tmp_path / str(number))
        try:
            enrol(
                database,
                folder,
                EnrolmentRequest(("web-1", "Web-1")[number % 2], request),
            )
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as hosts:
        given = list(hosts.map(ask, range(8)))

    assert given.count(True) == 1
    assert database["defenders"].count_documents({}) == 1
    assert read_revoked(database, RevocationKind.CERTIFICATE) == frozenset()


def _new_request(folder: Path) -> str:
    """Return the request of another host, with a key of its own."""
    folder.mkdir()
    make_key(folder / "key.pem")
    return make_request(folder / "key.pem", "anything").decode()


@pytest.mark.parametrize("state", ["away", "forgotten", "decommissioned", "connected"])
def test_an_existing_name_needs_an_account(
    admin: Visitor, database: Store, token: str, tmp_path: Path, state: str
) -> None:
    """A token alone cannot replace a host; an account can allow it once."""
    first = _enrol(admin, token, "web-1", _new_request(tmp_path / "first"))
    here = {"_id": "web-1"}
    match state:
        case "forgotten":
            database["defenders"].delete_one(here)
        case "decommissioned":
            _delete(admin, "/api/v1/defenders/web-1")
        case "connected":
            database["defenders"].update_one(here, {"$set": {"connected": True}})
    other = _new_request(tmp_path / "other")
    refused = _enrol(admin, token, "Web-1", other)
    untouched = _serial(first) not in read_revoked(database, RevocationKind.CERTIFICATE)
    database["defenders"].update_one(here, {"$set": {"connected": False}})
    allowed = admin.send(f"{DEPLOY}/allow", form_on=DEPLOY, hostname="WEB-1")
    shown = admin.get(allowed.location).text
    second = _enrol(admin, token, "web-1", other)
    third = _enrol(admin, token, "web-1", _new_request(tmp_path / "third"))

    words = "is connected" if state == "connected" else "allow this name once under"
    assert refused.status_code == 400
    assert words in refused.get_json()["err"]
    assert untouched == (state != "decommissioned")
    assert "A host may enrol as WEB-1 once." in shown
    assert second.status_code == 200
    assert third.status_code == 400
    assert read_revoked(database, RevocationKind.CERTIFICATE) == {_serial(first)}
    assert database["defenders"].distinct("_id") == ["web-1"]
    assert [failed for _, failed in _history(admin)] == [True, False, True, False]
    assert "an administrator allowed it" in _history(admin)[1][0]


@pytest.mark.parametrize("change", ["deleted", "added again", "auditor", "nothing"])
def test_a_command_ends_with_the_account_that_created_it(
    admin: Visitor, app: Flask, request_pem: str, change: str
) -> None:
    """It ends with the right to deploy, too; a new account does not revive it."""
    store = storage_of(app).database()
    password = "a phrase of Jane's"
    hashed = hash_password(password)
    users.add(store, "jane", hashed, UserRole.OPERATOR)
    jane = Visitor(app.test_client())
    jane.log_in("jane", password)
    made = re.search(r"deploy-[\w-]{43}", jane.send(DEPLOY, name="127.0.0.1").text)
    assert made
    match change:
        case "deleted":
            users.remove(store, "jane")
        case "added again":
            users.remove(store, "jane")
            users.add(store, "jane", hashed, UserRole.OPERATOR)
        case "auditor":
            users.change(store, "jane", UserRole.AUDITOR, None)

    answer = _enrol(admin, made[0], "web-1", request_pem)

    assert answer.status_code == (200 if change == "nothing" else 401)


def test_a_permission_can_be_withdrawn(
    admin: Visitor, token: str, request_pem: str, tmp_path: Path
) -> None:
    """The API withdraws it; a name that was never enrolled needs none."""
    path = "/api/v1/defenders/web-1/allow-enrolment"
    unknown = admin.call(path, None, Authorization=basic())
    _enrol(admin, token, "web-1", request_pem)
    allowed = admin.call(path, None, Authorization=basic())
    listed = "Withdraw" in admin.get(DEPLOY).text
    taken, again = _delete(admin, path), _delete(admin, path)
    refused = _enrol(admin, token, "web-1", _new_request(tmp_path / "other"))

    assert (unknown.status_code, allowed.status_code) == (404, 200)
    assert listed
    assert (taken.status_code, again.status_code) == (200, 404)
    assert refused.status_code == 400


def test_what_an_earlier_release_enrolled_is_known_by_its_certificate(
    admin: Visitor, database: Store, token: str, request_pem: str, running: Settings
) -> None:
    """The certificate must belong to the key of the request; another one is refused."""
    folder = running.folders.certificates
    signed = {"usage": Usage.DEFENDER, "names": []}
    request = request_pem.encode()
    pem = sign_request(folder, request, common_name="web-1", **signed).decode()
    other = sign_request(folder, request, common_name="web-2", **signed).decode()
    serial = x509.load_pem_x509_certificate(pem.encode()).serial_number
    entry = {"_id": "web-1", "certificate": {"serial": f"{serial:x}"}}
    database["defenders"].insert_one(entry)
    codes = []
    for shown in ("", "nonsense", other, pem):
        body = {"defender": "web-1", "request": request_pem, "certificate": shown}
        answer = admin.call(ENROL, body, Authorization=f"Bearer {token}")
        codes.append(answer.status_code)

    assert codes == [400, 400, 400, 200]
    assert read_revoked(database, RevocationKind.CERTIFICATE) == {f"{serial:x}"}


def test_a_concurrent_renewal_is_decommissioned_too(
    database: Store, running: Settings, request_pem: str
) -> None:
    """Each concurrent renewal is either revoked with the name, or refused."""
    folder = running.folders.certificates
    for number in range(5):
        name = f"web-{number}"
        made = enrol(database, folder, EnrolmentRequest(name, request_pem)).certificate
        before = IssuedCertificate.of(made.encode())

        def follow(_: int, name: str = name, before: IssuedCertificate = before) -> str:
            signed = sign_request(
                folder,
                request_pem.encode(),
                usage=Usage.DEFENDER,
                common_name=name,
                names=[],
            )
            issued = IssuedCertificate.of(signed)
            done = enrolled.add_successor(database, name, before, issued)
            return issued.serial if done else ""

        with ThreadPoolExecutor(5) as pool:
            given = pool.map(follow, range(4))
            pool.submit(enrolled.decommission, database, name).result()
        serials = {before.serial, *given} - {""}
        assert serials <= read_revoked(database, RevocationKind.CERTIFICATE)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("web-1", "is connected", id="connected"),
        pytest.param("../etc", "is not a valid name", id="no-name"),
        pytest.param("a$", "is not a valid name", id="sign"),
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
    """The name of a Defender that is connected cannot be taken."""
    database["defenders"].insert_one({"_id": "web-1", "connected": True})

    answer = _enrol(admin, token, name, request_pem)

    assert answer.status_code == 400
    assert words in answer.get_json()["err"]


def test_enrolment_needs_a_deploy_token(
    admin: Visitor, database: Store, token: str, request_pem: str
) -> None:
    """An account is not enough, nor a damaged token; the request must be valid."""
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
    """They come from the release that this node was installed from."""
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
