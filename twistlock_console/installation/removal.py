"""Plan what uninstalling removes: marked folders, and never a backup."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from twistlock_console.host_folders.rules import DATA_PARTS, MARK
from twistlock_console.host_folders.system import is_system_folder

REMOVE, WARNING = "remove", "warning"


def plan_removal(
    folder: PurePosixPath,
    present: Sequence[str],
    kept: Mapping[str, PurePosixPath],
    *,
    is_ours: bool,
) -> Iterator[tuple[str, str]]:
    """Yield the names to remove from DATA_FOLDER *folder*, and warnings for the rest.

    Args:
        folder: The folder, with links resolved.
        present: The names in it.
        kept: What must stay, with links resolved, by what it is.
        is_ours: It has our mark, or is recognised.

    """
    parts = [name for name in DATA_PARTS if name in present]
    if is_system_folder(folder):
        yield (
            WARNING,
            f"DATA_FOLDER {folder} is a folder of the system, and nothing in it was "
            f"removed. What may be the Console's: {', '.join(parts) or 'nothing'}.",
        )
        return
    if not is_ours:
        yield (
            WARNING,
            f"{folder} has no mark of the Console; nothing in it was removed.",
        )
        return
    # The parts that identify the folder go last: the removal may be interrupted.
    for part in sorted(parts, key=lambda name: name == "scripts"):
        within = [w for w, path in kept.items() if path.is_relative_to(folder / part)]
        if within:
            yield WARNING, f"{folder / part} was left: {within[0]} is in it."
        else:
            yield REMOVE, part
    if MARK in present:
        yield REMOVE, MARK
