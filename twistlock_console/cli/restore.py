"""`twistlock-console restore`: restore a backup while the Console is stopped."""

import getpass
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from twistlock_console.backups.format.manifest import ENDING, BackupName, Manifest
from twistlock_console.backups.operations import restore_journal
from twistlock_console.backups.operations.identity import (
    install_identity,
    read_key_file,
    read_sealed_identity,
    unseal,
)
from twistlock_console.backups.operations.restore import RestoreRequest, load
from twistlock_console.backups.operations.verify import running_database
from twistlock_console.backups.storage.volume import Volume, read_manifest
from twistlock_console.backups.storage.work import JobProgress
from twistlock_console.cli.options import config_option, print_line, show_progress
from twistlock_console.common.errors import Refused, SettingsError
from twistlock_console.database.epoch import raise_epoch
from twistlock_console.node.lifecycle import (
    create_identity,
    ensure_certificate_current,
    lock_data_folder,
)
from twistlock_console.pki.certificates import fingerprint, node_names
from twistlock_console.pki.identity_files import AUTHORITY
from twistlock_console.settings import Settings, load_settings

RUN = "offline"


@dataclass(frozen=True, slots=True)
class Options:
    """Options for the keys in the backup."""

    key_file: Path | None
    without_identity: bool


@click.command("restore", help="Restore a backup on a host whose Console is stopped.")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--data-recovery-folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The folder of the backups, as the argument.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file that the keys are encrypted with.",
)
@click.option(
    "--without-identity",
    is_flag=True,
    help="Restore the data alone, though Defenders will not trust this Console.",
)
@config_option
def command(
    folder: Path | None,
    data_recovery_folder: Path | None,
    key_file: Path | None,
    config: Path,
    *,
    without_identity: bool,
) -> None:
    """Let the operator choose a backup, and restore it here."""
    settings = load_settings(config, os.environ)
    chosen_folder = folder or data_recovery_folder
    volume = Volume(chosen_folder or settings.data_recovery_volume)
    chosen = _choose(find_backups(volume), volume.root).path
    try:
        with lock_data_folder(settings.folders):
            _restore_here(settings, chosen, Options(key_file, without_identity))
    except SettingsError as error:
        raise Refused(
            f"{error} While it runs, restore from its page or with "
            "`twistlock-console backup restore`."
        ) from error
    print_line(f"Restored {chosen.name}. Start the Console now.")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backup that can be restored: its path and its name by content."""

    path: Path
    name: BackupName
    is_sealed: bool


def find_backups(volume: Volume) -> list[Candidate]:
    """Return the backups in *volume*, those with renamed files included."""
    named = [
        Candidate(volume.path(each.name.file), each.name, each.verified is not None)
        for each in volume.list()
    ]
    others = sorted(volume.root.glob(f"*{ENDING}"), key=lambda path: path.name)
    return named + [
        found
        for path in others
        if BackupName.parse(path.name) is None and (found := _by_content(path))
    ]


def _by_content(path: Path) -> Candidate | None:
    try:
        held = read_manifest(path)
        name = BackupName.of_content(path.name, held.name, held.version, held.time)
    except Refused:
        return None
    return Candidate(path, name, is_sealed=False)


def _choose(found: Sequence[Candidate], folder: Path) -> Candidate:
    if not found:
        raise Refused(f"there is no backup in {folder}")
    print_line("Please select from the following:")
    for number, each in enumerate(found):
        name, made = each.name, f"{each.name.made:%Y-%m-%d %H:%M:%S %z} UTC"
        unsealed = "" if each.is_sealed else "  (unsealed)"
        print_line(f"{number}: {name.name:<20} {name.version:<12} {made}{unsealed}")
    try:
        typed = input("Please enter your selection: ").strip()
    except EOFError:
        typed = ""
    if not typed.isdecimal() or int(typed) >= len(found):
        raise Refused("This is not a number in the list; nothing was changed.")
    return found[int(typed)]


def _restore_here(settings: Settings, path: Path, options: Options) -> None:
    names = node_names(settings, settings.node_address)
    create_identity(settings, names)
    manifest = read_manifest(path)
    files = _identity(settings, path, manifest, options)
    ensure_certificate_current(settings)
    with running_database(settings) as database:
        restore_journal.complete(database)
        restore_journal.sweep(database, None)
        load(
            database,
            RestoreRequest(RUN, path, "root"),
            settings.data_folder,
            _show_progress,
        )
        restore_journal.complete(database)
        raise_epoch(database, manifest.epoch)
    if files:
        install_identity(settings.folders, files)
        create_identity(settings, names)


def _identity(
    settings: Settings, path: Path, manifest: Manifest, options: Options
) -> dict[str, str]:
    """Return the identity in the backup, {} if this host has the same; or Refused."""
    own = settings.folders.certificates / AUTHORITY
    if options.without_identity or manifest.authority == fingerprint(own.read_bytes()):
        return {}
    if not manifest.identity:
        raise Refused(
            f"{path.name} holds no keys, so no Defender will trust this Console; copy "
            "the folder certificates of an old node here first, or add "
            "--without-identity and deploy the Defenders again"
        )
    key = options.key_file or settings.data_recovery_key_file
    if key is not None:
        return unseal(read_sealed_identity(path), read_key_file(key))
    if not sys.stdin.isatty():
        raise Refused(f"{path.name} holds encrypted keys; name their --key-file")
    typed = getpass.getpass("Passphrase of the backup: ")
    return unseal(read_sealed_identity(path), typed.encode())


def _show_progress(progress: JobProgress) -> None:
    done, total = progress.done / 1e6, progress.total / 1e6
    show_progress(f"{progress.phase}: {done:.0f} of {total:.0f} MB")
