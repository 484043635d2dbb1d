"""Which collections belong in a backup, and where a restore puts them first. Pure."""

#: Whatever is about this cluster now and not about what it guards: who serves, who
#: belongs to it, who has logged out. A restore leaves it as it is.
LEFT_OUT = frozenset({"lease", "revoked_sessions", "login_failures"})
LEFT_OUT_PREFIXES = ("ha_", "backup_", "restoring.", "system.")
TEMPORARY = "restoring"


def is_kept(collection: str) -> bool:
    """Say whether a backup holds *collection*."""
    return collection not in LEFT_OUT and not collection.startswith(LEFT_OUT_PREFIXES)


def temporary(run: str, collection: str) -> str:
    """The collection into which the restore called *run* loads *collection*."""
    return f"{TEMPORARY}.{run}.{collection}"


def is_leftover(collection: str, run: str | None) -> bool:
    """Say whether *collection* was loaded by another restore than *run*."""
    if not collection.startswith(f"{TEMPORARY}."):
        return False
    return run is None or not collection.startswith(f"{TEMPORARY}.{run}.")
