"""What root wrote in the Console's folders is given back, and nothing else is."""

import os
from pathlib import Path

import pytest

from twistlock_console.host_folders.account import Account
from twistlock_console.host_folders.rules import MARK
from twistlock_console.installation.ownership import give_back

pytestmark = pytest.mark.needs(root=True)
ACCOUNT = Account("twistlock", 62674, 62674)


def owner(path: Path) -> int:
    """The account to which *path* itself belongs."""
    return path.lstat().st_uid


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """DATA_FOLDER, with a part in which root wrote."""
    folder = tmp_path / "data"
    (folder / "log/older").mkdir(parents=True)
    (folder / "log/older/x").touch()
    (folder / MARK).touch()
    return folder


def test_our_parts_are_given_back(data: Path) -> None:
    """With all in them; a second time there is nothing to do."""
    changed = give_back(data, ACCOUNT)

    ours = (data, data / MARK, data / "log", data / "log/older", data / "log/older/x")
    assert [owner(path) for path in ours] == [ACCOUNT.uid] * 5
    assert changed == 5
    assert give_back(data, ACCOUNT) == 0


def test_foreign_files_stay_as_they_are(data: Path, tmp_path: Path) -> None:
    """Beside ours, behind links, and those that have a name elsewhere."""
    secret, notes = tmp_path / "secret", data / "notes"
    secret.touch()
    notes.mkdir()
    (data / "log/link").symlink_to(secret)
    (data / "log/folder").symlink_to(tmp_path)
    (data / "db").symlink_to(tmp_path)
    (data / "log/name").hardlink_to(secret)

    give_back(data, ACCOUNT)

    assert owner(secret) == owner(notes) == owner(tmp_path) == 0
    assert owner(data / "log/link") == ACCOUNT.uid


def test_data_behind_a_link_of_the_administrator_is_given_back(
    data: Path, tmp_path: Path
) -> None:
    """DATA_FOLDER itself may be one."""
    link = tmp_path / "link"
    link.symlink_to(data)

    give_back(link, ACCOUNT)

    assert owner(data) == ACCOUNT.uid
    assert owner(link) == 0


def test_a_closed_folder_is_the_accounts_already(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with root_squash."""

    real = os.open

    def refuse(path: str | Path, *how: int, **more: int) -> int:
        # Whatever else this process opens, coverage above all, is no concern of this.
        if Path(path) == data or "dir_fd" in more:
            raise PermissionError
        return real(path, *how, **more)

    monkeypatch.setattr(os, "open", refuse)

    assert give_back(data, ACCOUNT) == 0
