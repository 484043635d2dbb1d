"""What uninstalling removes."""

from pathlib import PurePosixPath

import pytest

from twistlock_console.host_folders.rules import DATA_PARTS, MARK
from twistlock_console.installation.removal import plan_removal

DATA = PurePosixPath("/srv/twistlock")
ALL = [*DATA_PARTS, MARK, "backup", "notes.txt"]


def plan(
    folder: PurePosixPath = DATA, ours: bool = True, **kept: str
) -> list[tuple[str, str]]:
    """The plan for a folder in which is all of ours, and more."""
    paths = {what: PurePosixPath(path) for what, path in kept.items()}
    return list(plan_removal(folder, ALL, paths, is_ours=ours))


def test_only_our_parts_are_removed() -> None:
    """Foreign files and backups stay; what tells that it is ours goes last."""
    planned = plan(volume="/srv/twistlock/backup")

    assert {verdict for verdict, _ in planned} == {"remove"}
    names = [name for _, name in planned]
    assert sorted(names) == sorted([*DATA_PARTS, MARK])
    assert names[-2:] == ["scripts", MARK]


@pytest.mark.parametrize("path", ["/srv/twistlock/db", "/srv/twistlock/db/a/b"])
def test_a_part_with_backups_stays(path: str) -> None:
    """Earlier releases took a volume there."""
    planned = plan(backups=path)

    assert ("remove", "db") not in planned
    assert ("warning", "/srv/twistlock/db was left: backups is in it.") in planned
    assert len(planned) == len(DATA_PARTS) + 1


@pytest.mark.parametrize("folder", ["/", "/var", "/etc/twistlock"])
def test_nothing_is_removed_from_a_folder_of_the_system(folder: str) -> None:
    """An earlier release took it over."""
    [(verdict, said)] = plan(PurePosixPath(folder))

    assert verdict == "warning"
    assert said.startswith(f"DATA_FOLDER {folder} is a folder of the system")
    assert "backup-work, certificates, db" in said


def test_nothing_is_removed_without_a_mark() -> None:
    """Whatever its names are."""
    assert plan(ours=False) == [
        (
            "warning",
            "/srv/twistlock has no mark of the Console; nothing in it was removed.",
        )
    ]


def test_what_is_not_there_is_not_removed() -> None:
    """An uninstall that was interrupted goes on."""
    planned = list(plan_removal(DATA, ["scripts"], {}, is_ours=True))

    assert planned == [("remove", "scripts")]
