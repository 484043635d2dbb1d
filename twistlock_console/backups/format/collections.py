"""Which collections belong in a backup, and what a restore does with each. Pure."""

from fnmatch import fnmatchcase

from twistlock_console import plugins

#: Whatever is about this cluster now and not about what it guards: who serves, who
#: belongs to it, who has logged out. A restore leaves it as it is.
LEFT_OUT = (
    "lease",
    "revoked_sessions",
    "login_failures",
    "backup_*",
    "restoring.*",
    "system.*",
)
#: What a restore adds to and never takes from, in this order: accounts come after the
#: revocations, which say what accounts were deleted.
ADDED_TO = (
    "revocations",
    "revoked_certificates",  # of a release before
    "renewed_certificates",
    "enrolled_defenders",
    "users",
)
#: In no backup of now, and left alone where an older one has them: proofs that live for
#: a day, and orders that were carried out long ago.
PASSED_OVER = frozenset({"deploy_tokens", "defender_orders"})
TEMPORARY = "restoring"


def is_kept(collection: str) -> bool:
    """Return whether a backup may hold *collection*."""
    return not any(fnmatchcase(collection, pattern) for pattern in left_out())


def left_out() -> tuple[str, ...]:
    """Return the patterns of what no backup holds, those of plugins too."""
    added = (p for plugin in plugins.installed() for p in plugin.backup_exclusions)
    return (*LEFT_OUT, *added)


def is_dumped(collection: str) -> bool:
    """Return whether a backup that is made now holds *collection*."""
    return is_kept(collection) and collection not in PASSED_OVER


def is_replaced(collection: str) -> bool:
    """Return whether a restore puts the backup's *collection* in place of ours."""
    return is_dumped(collection) and collection not in ADDED_TO


def temporary(run: str, collection: str) -> str:
    """The collection into which the restore called *run* loads *collection*."""
    return f"{TEMPORARY}.{run}.{collection}"


def is_leftover(collection: str, run: str | None) -> bool:
    """Say whether *collection* was loaded by another restore than *run*."""
    if not collection.startswith(f"{TEMPORARY}."):
        return False
    return run is None or not collection.startswith(f"{TEMPORARY}.{run}.")
