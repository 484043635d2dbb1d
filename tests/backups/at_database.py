"""`python -m tests.backups.at_database CONFIG VERB …`: looks at a node's own database.

For hosts whose network the test runner is not in. The data are three collections in
which each document says of which generation it is: mixed ones would show.
"""

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo.errors import OperationFailure

from tests.backups.backup_node import ignore_progress
from twistlock_console.backups.operations.restore import RestoreRequest, load
from twistlock_console.common.errors import ConsoleError
from twistlock_console.database.client import Db, connect, credentials_for
from twistlock_console.defenders.deployment import revoke_token, token_id
from twistlock_console.revocation import store
from twistlock_console.revocation.store import RevocationKind
from twistlock_console.settings import Settings, load_settings

NAMES = ("g_first", "g_second", "g_third")


def write(database: Db, generation: int, documents: int) -> None:
    """Replace everything by documents of *generation*."""
    for name in NAMES:
        database.drop_collection(name)
        rows = [
            {"_id": n, "generation": generation, "text": f"{n:040x}" * 8}
            for n in range(documents)
        ]
        database[name].insert_many(rows)
        database[name].create_index("text")


def show(database: Db) -> dict[str, Any]:
    """The generations of each collection, and what is left of restores."""
    names = database.list_collection_names()
    return {
        "generations": [
            sorted(database[name].distinct("generation")) for name in NAMES
        ],
        "counts": [database[name].count_documents({}) for name in NAMES],
        "left": [name for name in names if name.startswith("restoring.")],
    }


def make_due(database: Db) -> None:
    """Let the Console have thought of backups two hours ago for the first time."""
    before = datetime.now(UTC) - timedelta(hours=2)
    database["backup_results"].replace_one(
        {"_id": "schedule"}, {"since": before}, upsert=True
    )


def load_and_commit(settings: Settings, database: Db, file: str) -> None:
    """Do what the worker of a restore does, and nothing of what follows.

    The node does not know this restore and gives it up when it next looks: then it is
    begun anew.
    """
    for tries in range(9):
        request = RestoreRequest(
            f"try{tries}", settings.data_recovery_volume / file, "admin"
        )
        # It drops what is being loaded, too: an index on that is then interrupted.
        with suppress(ConsoleError, OperationFailure):
            load(database, request, settings.data_folder, ignore_progress)
            return
    raise TimeoutError("no try was quick enough")


def main() -> None:
    """Do one thing and print what it gives as JSON."""
    config, verb, *words = sys.argv[1:]
    settings = load_settings(Path(config), {}, on_this_host=False)
    credentials = credentials_for(settings, "console")
    with connect(
        settings, credentials, app_name="tests", timeout_ms=60_000, is_awaiting=True
    ) as client:
        database = client["twistlock"]
        match verb:
            case "write":
                write(database, int(words[0]), int(words[1]))
            case "show":
                print(json.dumps(show(database)))  # noqa: T201
            case "make-due":
                make_due(database)
            case "load":
                load_and_commit(settings, database, words[0])
            case "revoke-deploy-token":
                revoke_token(database, str(token_id(database, words[0])))
            case "revoke-node":
                store.revoke(database, RevocationKind.NODE_KEY, words[0])


if __name__ == "__main__":
    main()
