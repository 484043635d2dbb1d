"""`twistlock-console backup …`: backups from the command line of any node."""

import time
from pathlib import Path

import click

from twistlock_console.backups.jobs.responses import (
    BackupsOverview,
    JobStatus,
    RunState,
)
from twistlock_console.backups.operations.identity import read_key_file
from twistlock_console.cli.options import (
    config_option,
    json_option,
    print_json,
    print_line,
    settings_of_running_node,
    show_progress,
)
from twistlock_console.common.errors import ConsoleError, NodeUnreachable, Refused
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings

TIMEOUT_S = 15.0
POLL_INTERVAL_S = 0.5


@click.group("backup", help="Create, list, verify and restore backups.")
def command() -> None:
    """Group the commands of backups."""


@command.command("create", help="Create a backup.")
@click.argument("name")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Encrypt the Console's keys with the content of FILE.",
)
@config_option
def create(name: str, key_file: Path | None, config: Path) -> None:
    """Create a backup on the primary, and show its progress."""
    secret = read_key_file(key_file).decode() if key_file else ""
    _run_job(config, "create", {"name": name, "passphrase": secret})


@command.command("list", help="Show the backups.")
@json_option
@config_option
def list_backups(config: Path, *, as_json: bool) -> None:
    """Print each backup that the primary lists."""
    with _client_of_serving_node(settings_of_running_node(config)) as client:
        answer = BackupsOverview.model_validate(client.get("/v1/backups"))
    if as_json:
        print_json([each.to_json() for each in answer.backups])
        return
    if answer.problem:
        raise ConsoleError(answer.problem)
    for each in answer.backups:
        seen = f"verified {each.verified[:16]}" if each.verified else "unsealed"
        print_line(f"{each.id:<50} {each.size / 1e6:>10.1f} MB  {seen}")


@command.command("verify", help="Verify a backup: read it and compare every hash.")
@click.option(
    "--restore", is_flag=True, help="Try a restore in a temporary database as well."
)
@click.argument("file")
@config_option
def verify(file: str, config: Path, *, restore: bool) -> None:
    """Verify the backup *file* on the primary, and show its progress."""
    _run_job(config, "verify", {"id": file, "restore": restore})


@command.command("rename", help="Give a backup another name.")
@click.argument("file")
@click.argument("name")
@config_option
def rename(file: str, name: str, config: Path) -> None:
    """Rename the backup *file* and print its new file name."""
    with _client_of_serving_node(settings_of_running_node(config)) as client:
        body = {"id": file, "name": name}
        print_line(client.post("/v1/backups/rename", body)["id"])


@command.command("delete", help="Delete a backup.")
@click.argument("file")
@config_option
def delete(file: str, config: Path) -> None:
    """Delete the backup *file*."""
    with _client_of_serving_node(settings_of_running_node(config)) as client:
        client.post("/v1/backups/delete", {"id": file})
    print_line(f"Deleted {file}.")


@command.command("restore", help="Restore a backup; it takes effect at once.")
@click.argument("file")
@config_option
def restore_backup(file: str, config: Path) -> None:
    """Restore the backup *file* on the primary, and show its progress."""
    _run_job(config, "restore", {"id": file})
    print_line("The Console reopens its ports now, with the restored data.")


def _client_of_serving_node(settings: Settings) -> NodeClient:
    """Return a client of the primary's node API."""
    with NodeClient(settings, settings.node_address) as client:
        primary = client.get("/v1/backups/primary")["primary"]
    if primary is None:
        raise Refused("No node is primary now; see `twistlock-console status`.")
    return NodeClient(settings, primary, timeout=TIMEOUT_S)


def _run_job(config: Path, verb: str, body: dict[str, object]) -> None:
    """Start a job and show its progress until it has ended; raises Refused."""
    with _client_of_serving_node(settings_of_running_node(config)) as client:
        run = client.post(f"/v1/backups/{verb}", body)["run"]
        while True:
            try:
                job = RunState.model_validate(client.get(f"/v1/backups/runs/{run}"))
            except NodeUnreachable as error:
                raise ConsoleError(
                    f"{client.address} does not answer any more; check the outcome "
                    "with `twistlock-console backup list`"
                ) from error
            if job.work is None:
                break
            _show(job.work)
            time.sleep(POLL_INTERVAL_S)
    if job.error:
        raise Refused(job.error)
    print_line(f"Done: {job.file}")


def _show(work: JobStatus) -> None:
    left = f", {work.seconds_left:.0f} s left" if work.seconds_left else ""
    done, total = work.done / 1e6, work.total / 1e6
    show_progress(f"{work.phase}: {done:.0f} of {total:.0f} MB{left}")
