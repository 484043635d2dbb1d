"""`twistlock-console backup …`: backups from the command line of any node."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from twistlock_console.backups.format.sealed_identity import read_key_file
from twistlock_console.common.errors import ConsoleError, NodeUnreachable, Refused
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings, load_settings

SECONDS = 15.0
EVERY_SECONDS = 0.5


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the commands."""
    backup = commands.add_parser(
        "backup", help="backups: create, list, verify, rename, delete, restore"
    )
    verbs = backup.add_subparsers(required=True, metavar="VERB")
    create = verbs.add_parser("create", help="make a backup")
    create.add_argument("name")
    create.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="encrypt the Console's keys with what FILE holds",
    )
    listed = verbs.add_parser("list", help="show the backups")
    listed.add_argument("--json", action="store_true", help="print JSON")
    verify = verbs.add_parser("verify", help="read a backup and compare everything")
    verify.add_argument(
        "--restore", action="store_true", help="restore it for a trial as well"
    )
    rename = verbs.add_parser("rename", help="give a backup another name")
    delete = verbs.add_parser("delete", help="delete a backup")
    restore = verbs.add_parser("restore", help="put a backup in force")
    for verb in (verify, rename, delete, restore):
        verb.add_argument("file", help="the full file name, as the list shows it")
    rename.add_argument("name")
    runs = (_create, _list, _verify, _rename, _delete, _restore)
    for verb, run in zip(
        (create, listed, verify, rename, delete, restore), runs, strict=True
    ):
        verb.add_argument("--config", type=Path, default=config, metavar="FILE")
        verb.set_defaults(run=run)


def _create(options: argparse.Namespace) -> None:
    secret = read_key_file(options.key_file).decode() if options.key_file else ""
    _work(options, "create", {"name": options.name, "passphrase": secret})


def _list(options: argparse.Namespace) -> None:
    with _serving(_settings(options)) as client:
        told: dict[str, Any] = client.get("/v1/backups")
    if options.json:
        print(json.dumps(told["backups"]))  # noqa: T201
        return
    if told["problem"]:
        raise ConsoleError(told["problem"])
    for each in told["backups"]:
        seen = f"verified {each['verified'][:16]}" if each["verified"] else "unsealed"
        print(f"{each['id']:<50} {each['size'] / 1e6:>10.1f} MB  {seen}")  # noqa: T201


def _verify(options: argparse.Namespace) -> None:
    _work(options, "verify", {"id": options.file, "restore": options.restore})


def _rename(options: argparse.Namespace) -> None:
    with _serving(_settings(options)) as client:
        body = {"id": options.file, "name": options.name}
        print(client.post("/v1/backups/rename", body)["id"])  # noqa: T201


def _delete(options: argparse.Namespace) -> None:
    with _serving(_settings(options)) as client:
        client.post("/v1/backups/delete", {"id": options.file})
    print(f"Deleted {options.file}.")  # noqa: T201


def _restore(options: argparse.Namespace) -> None:
    _work(options, "restore", {"id": options.file})
    print("The Console closes its ports for a moment and opens them with it.")  # noqa: T201


def _settings(options: argparse.Namespace) -> Settings:
    return load_settings(options.config, os.environ, on_this_host=False)


def _serving(settings: Settings) -> NodeClient:
    """A client of the node that serves, whichever node this is."""
    with NodeClient(settings, settings.node_address) as client:
        primary = client.get("/v1/backups/primary")["primary"]
    if primary is None:
        raise Refused("No node serves now; see `twistlock-console status`.")
    return NodeClient(settings, primary, timeout=SECONDS)


def _work(options: argparse.Namespace, verb: str, body: dict[str, Any]) -> None:
    """Order work and show how it goes until it has ended; raises Refused."""
    with _serving(_settings(options)) as client:
        run = client.post(f"/v1/backups/{verb}", body)["run"]
        while True:
            try:
                told: dict[str, Any] = client.get(f"/v1/backups/runs/{run}")
            except NodeUnreachable as error:
                raise ConsoleError(
                    f"{client.address} does not answer any more; see "
                    "`twistlock-console backup list` for what became of it"
                ) from error
            if told["state"] == "ended":
                break
            _show(told["work"])
            time.sleep(EVERY_SECONDS)
    if told["error"]:
        raise Refused(told["error"])
    print(f"Done: {told['file']}")  # noqa: T201


def _show(work: dict[str, Any]) -> None:
    if not sys.stderr.isatty():
        return
    left = f", {work['secondsLeft']:.0f} s left" if work["secondsLeft"] else ""
    done, total = work["done"] / 1e6, work["total"] / 1e6
    line = f"{work['phase']}: {done:.0f} of {total:.0f} MB{left}"
    print(f"\r{line:<70}", end="", file=sys.stderr, flush=True)  # noqa: T201
