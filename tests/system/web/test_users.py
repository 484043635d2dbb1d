"""Rules of users: add, change and delete; one administrator always remains."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from argon2 import PasswordHasher
from flask import Flask
from werkzeug.test import TestResponse

from tests.web.web_visitor import HTTPS, PASSWORD, USERNAME, Visitor, basic
from twistlock_console.accounts import users
from twistlock_console.accounts.rights import UserRole
from twistlock_console.common.errors import Refused
from twistlock_console.web.common.database import storage_of

USERS = "/api/v1/users"
PAGE = "/manage/authentication/users"
JANE = {"username": "jane", "password": "jane has a phrase", "role": "operator"}


def send(admin: Visitor, method: str, path: str, body: object = None) -> TestResponse:
    """Call the API as the first administrator."""
    headers = {"Authorization": basic()}
    return admin.client.open(
        path, method=method, json=body, base_url=HTTPS, headers=headers
    )


def role_of(admin: Visitor, username: str) -> str | None:
    """Return the role of a user in the list of users."""
    found = {u["username"]: u["role"] for u in send(admin, "GET", USERS).get_json()}
    return found.get(username)


def test_a_user_is_added_changed_and_deleted(admin: Visitor, app: Flask) -> None:
    """Each step takes effect at once, has an empty answer, and is in the history."""
    jane = basic("jane", JANE["password"])
    answers = [send(admin, "POST", USERS, JANE)]
    as_operator = admin.get(USERS, Authorization=jane).status_code
    answers.append(send(admin, "PUT", USERS, {**JANE, "role": "defenderManager"}))
    as_manager = admin.get(USERS, Authorization=jane).status_code
    answers.append(send(admin, "DELETE", f"{USERS}/jane"))
    gone = admin.get(USERS, Authorization=jane).status_code
    trail = send(admin, "GET", "/api/v1/audits/mgmt?type=user").get_json()

    assert [(a.status_code, a.data) for a in answers] == [(200, b"")] * 3
    assert (as_operator, as_manager, gone) == (200, 403, 401)
    assert [entry["status"] for entry in trail] == [
        "deleted the user jane",
        "changed the user jane",
        "added the user jane",
    ]
    assert '-  "role": "operator"' in trail[1]["diff"]
    assert '+  "role": "defenderManager"' in trail[1]["diff"]
    assert "argon2" not in str(trail)
    assert JANE["password"] not in str(trail)


def test_a_put_replaces_all_but_the_password(admin: Visitor) -> None:
    """A field left out of a PUT gets its default; the password stays."""
    send(admin, "POST", USERS, JANE)
    (listed,) = send(admin, "GET", f"{USERS}?search=jane").get_json()
    sent_back = send(admin, "PUT", USERS, {**listed, "role": "operator"})
    kept = role_of(admin, "jane")
    send(admin, "PUT", USERS, {"username": "jane"})

    assert sent_back.status_code == 200
    assert kept == "operator"
    assert role_of(admin, "jane") == "auditor"
    jane = basic("jane", JANE["password"])
    assert admin.get(USERS, Authorization=jane).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        (
            "POST",
            USERS,
            JANE | {"username": USERNAME},
            400,
            "there is a user admin already",
        ),
        (
            "POST",
            USERS,
            JANE | {"username": "aDMIN"},
            400,
            "there is a user admin already",
        ),
        ("POST", USERS, {"username": "jane"}, 400, "password: a new user needs one"),
        ("POST", USERS, JANE | {"username": "a b"}, 400, "a username has 1 to 64"),
        ("POST", USERS, JANE | {"password": "short"}, 400, "at least 8 characters"),
        ("POST", USERS, JANE | {"role": "king"}, 400, "role: input should be 'admin'"),
        ("PUT", USERS, {"username": "jane"}, 404, "there is no user jane"),
        ("DELETE", f"{USERS}/jane", None, 404, "there is no user jane"),
        ("DELETE", f"{USERS}/admin", None, 400, "you cannot delete the account"),
        ("DELETE", f"{USERS}/ADMIN", None, 400, "you cannot delete the account"),
        ("PUT", USERS, {"username": "admin"}, 400, "admin is the last administrator"),
    ],
)
def test_an_invalid_change_is_refused(
    admin: Visitor, method: str, path: str, body: object, status: int, sentence: str
) -> None:
    """The sentence gives the reason, nothing changes, and the history has it."""
    answer = send(admin, method, path, body)
    trail = send(admin, "GET", "/api/v1/audits/mgmt?failure=true").get_json()

    assert answer.status_code == status
    assert sentence in answer.get_json()["err"]
    assert role_of(admin, "admin") == "admin"
    assert role_of(admin, "jane") is None
    assert len(trail) == (0 if "role" in sentence else 1)


def test_an_account_is_named_in_any_case(admin: Visitor, app: Flask) -> None:
    """Login and API ignore case; the history has the stored name."""
    send(admin, "POST", USERS, JANE | {"username": "Jane"})
    jane = Visitor(app.test_client())
    logged_in = jane.log_in("JANE", JANE["password"]).status_code
    history = send(admin, "GET", "/api/v1/audits/mgmt?username=Jane").get_json()
    changed = send(admin, "PUT", USERS, {"username": "jane", "role": "operator"})
    role = role_of(admin, "Jane")
    deleted = send(admin, "DELETE", f"{USERS}/jAne")

    assert logged_in == 303
    assert [entry["status"] for entry in history] == ["successful login attempt"]
    assert (changed.status_code, role) == (200, "operator")
    assert deleted.status_code == 200
    assert role_of(admin, "Jane") is None


def test_one_of_two_concurrent_requests_gets_the_name(
    admin: Visitor, app: Flask
) -> None:
    """The database itself keeps names unique without case."""
    store = storage_of(app).database()

    def add(name: str) -> bool:
        try:
            users.add(store, name, "hash", UserRole.AUDITOR)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(add, ["ann", "Ann", "aNn", "anN"] * 2))

    assert added.count(True) == 1


def test_older_accounts_that_differ_only_in_case_still_work(
    admin: Visitor, app: Flask
) -> None:
    """Each is found by its exact name, one also by other cases; one can be deleted."""
    store = storage_of(app).database()
    before = store["users"].find_one({"_id": "admin"})
    assert before
    del before["nameKey"]
    store["users"].update_one({"_id": "admin"}, {"$unset": {"nameKey": ""}})
    store["users"].insert_one({**before, "_id": "Admin"})
    users.add_name_keys(store)
    codes = [
        admin.get(USERS, Authorization=basic(name)).status_code
        for name in ("admin", "Admin", "ADMIN")
    ]
    found = users.find(store, "ADMIN")
    deleted = send(admin, "DELETE", f"{USERS}/Admin")

    assert codes == [200] * 3
    assert found
    assert found.username == "admin"
    assert deleted.status_code == 200
    assert role_of(admin, "admin") == "admin"


def test_two_administrators_cannot_remove_each_other(
    admin: Visitor, app: Flask
) -> None:
    """Two concurrent requests that would leave no administrator cannot both succeed."""
    store = storage_of(app).database()
    others = ("ann", "bob")

    def demote(name: str) -> bool:
        try:
            if name == "ann":
                users.remove(store, name)
            else:
                users.change(store, name, UserRole.AUDITOR, None)
        except Refused:
            return False
        return True

    attempts = []
    for _ in range(5):
        store["users"].delete_many({})
        store["settings"].delete_one(users.ADMINISTRATORS)
        for name in others:
            users.add(store, name, "hash", UserRole.ADMIN)
        with ThreadPoolExecutor(2) as pool:
            attempts.append(sorted(pool.map(demote, others)))

    assert attempts == [[False, True]] * 5
    assert store["users"].count_documents({"role": "admin"}) == 1


def test_another_password_ends_the_users_sessions(admin: Visitor, app: Flask) -> None:
    """After a reset by an administrator, sessions of the old password end."""
    send(admin, "POST", USERS, JANE)
    jane = Visitor(app.test_client())
    jane.log_in("jane", JANE["password"])
    before = jane.get("/profile/password").status_code
    send(admin, "PUT", USERS, {**JANE, "password": "another long phrase"})

    assert before == 200
    assert jane.get("/profile/password").status_code == 303


def test_a_reused_name_revives_no_session(admin: Visitor, app: Flask) -> None:
    """A token of a deleted user is invalid for a new user of the same name."""
    send(admin, "POST", USERS, JANE)
    sent = {"username": "jane", "password": JANE["password"]}
    token = admin.call("/api/v1/authenticate", sent).get_json()["token"]
    send(admin, "DELETE", f"{USERS}/jane")
    send(admin, "POST", USERS, JANE)

    answer = admin.get("/api/v1/version", Authorization=f"Bearer {token}")

    assert answer.status_code == 401


def test_a_user_changes_the_own_password(admin: Visitor) -> None:
    """The API does it, too; tokens end with the old password."""
    token = f"Bearer {admin.token()}"
    body = {"oldPassword": PASSWORD, "newPassword": "another long phrase"}
    path = f"{USERS}/password"
    wrong = {**body, "oldPassword": "wrong"}

    refused = send(admin, "PUT", path, wrong)
    changed = send(admin, "PUT", path, body)

    assert (refused.status_code, changed.status_code) == (401, 200)
    assert admin.get(USERS, Authorization=token).status_code == 401
    new = basic(password="another long phrase")
    assert admin.get(USERS, Authorization=new).status_code == 200


def test_an_earlier_hash_is_replaced_at_the_login(admin: Visitor, app: Flask) -> None:
    """It was a hash of the typed form; the new one is of the normalized password."""
    store = storage_of(app).database()
    composed, decomposed = "caf\u00e9 creme", "cafe\u0301 creme"
    earlier = PasswordHasher().hash(decomposed)
    users.add(store, "jane", earlier, UserRole.AUDITOR)
    before = users.find(store, "jane")
    codes = []
    for password in (composed, decomposed, composed):
        sent = {"username": "jane", "password": password}
        codes.append(admin.call("/api/v1/authenticate", sent).status_code)
    after = users.find(store, "jane")

    assert codes == [401, 200, 200]
    assert before
    assert after
    assert after.password_hash != earlier
    assert after.session_epoch == before.session_epoch


def test_the_pages_add_edit_and_delete_users(admin: Visitor, app: Flask) -> None:
    """Forms add, edit and delete users; the page confirms each action."""
    fields = {k: JANE[k] for k in ("username", "password", "role")}
    again = {"repeated": JANE["password"]}
    added = admin.send(f"{PAGE}/add", **fields, **again)
    listed = admin.get(added.location).text
    shown = admin.get(f"{PAGE}/edit?username=jane").text
    admin.send(
        f"{PAGE}/edit", f"{PAGE}/edit?username=jane", username="jane", role="admin"
    )
    edited = role_of(admin, "jane")
    asked = admin.get(f"{PAGE}/delete?username=jane").text
    admin.send(f"{PAGE}/delete", f"{PAGE}/delete?username=jane", username="jane")

    assert "The user jane was added." in listed
    assert 'value="operator" selected' in shown
    assert "Delete User" in asked
    assert edited == "admin"
    assert role_of(admin, "jane") is None


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"role": "king"}, "Choose a role."),
        ({"repeated": "not the same"}, "The two passwords differ."),
        ({"username": ""}, "Username: string should have at least 1 character."),
    ],
)
def test_a_form_says_what_is_wrong(
    admin: Visitor, fields: dict[str, str], sentence: str
) -> None:
    """The form keeps what was typed, except passwords."""
    sent = {**JANE, "repeated": JANE["password"], **fields}
    answer = admin.send(f"{PAGE}/add", **sent)

    assert answer.status_code == 400
    assert sentence in answer.text
    assert JANE["password"] not in answer.text


def test_auditors_see_no_buttons(admin: Visitor, app: Flask) -> None:
    """Pages that a user may not change have no buttons to change."""
    send(admin, "POST", USERS, {**JANE, "role": "auditor"})
    jane = Visitor(app.test_client())
    jane.log_in("jane", JANE["password"])
    page = jane.get(PAGE)

    assert page.status_code == 200
    assert "Add user" not in page.text
    assert "Delete" not in page.text
    assert "Add user" in admin.get(PAGE).text
