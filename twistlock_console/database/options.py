"""Build the configuration file of mongod, with its limits of incoming connections.

The limits keep other hosts from exhausting the open files of mongod. Measured with
MongoDB 6.0.5: each connection holds two descriptors, a silent connection is never
closed, and WiredTiger aborts the process when it cannot open a file. Connections beyond
the maximum are closed at once.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from twistlock_console.pki.identity_files import CLUSTER_BUNDLE, CLUSTER_TRUST
from twistlock_console.settings import Settings
from twistlock_console.system.processes import raise_file_limit

#: The limit of open files that a host should allow.
RECOMMENDED_OPEN_FILES = 64_000
MAX_INCOMING_CONNECTIONS = 1000
#: Of the open files, one part in eight for the counted connections (two files each):
#: the rest is for the exempt connections, the data files and the journal.
OPEN_FILES_PER_CONNECTION = 8
MIN_INCOMING_CONNECTIONS = 100
REPLICA_SET = "twistlock"
LOG = "mongod.log"
KEYFILE = "mongod.key"
OPLOG_MB = 1024
#: Without zlib: mongod decompresses before a login, and releases of 6.0
#: before 6.0.27 then disclose memory (CVE-2025-14847). Our own clients use none.
COMPRESSORS = "snappy,zstd"

#: WiredTiger writes a page back as a whole, and all writes wait meanwhile: 0.1 s for a
#: page of 10 MB, the default. The setting affects new collections only.
SMALL_PAGES = "memory_page_max=1m"
#: One thread that writes pages back, not four, and not all the time: by default it
#: starts at 5 % of the cache, and writers must help it from 20 % on. A checkpoint
#: writes all pages once a minute anyway.
EVICTION = (
    "eviction=(threads_min=1,threads_max=1),"
    "eviction_dirty_target=40,eviction_dirty_trigger=60,"
    "eviction_updates_target=20,eviction_updates_trigger=40"
)

PARAMETERS: Mapping[str, bool | int | str] = {
    # Users are created with the keyfile: there is never access without a password.
    "enableLocalhostAuthBypass": False,
    # The time for which a standby keeps a sync source that stopped answering. The
    # default of 5 s delays majority writes after a network failure.
    "oplogNetworkTimeoutBufferSeconds": 0,
    # A standby whose source failed retries after 1, 2, 4 … 512 ms, and follows a new
    # primary as soon as it learns of one. With fewer retries it finds no source before
    # the election is over, and sleeps for a second.
    "oplogFetcherSteadyStateMaxFetcherRestarts": 10,
    # The Console chooses the sync sources: no node changes over to a closer one.
    "changeSyncSourceThresholdMillis": 0,
    # The time for which a primary that is shut down waits for a successor, at most.
    "shutdownTimeoutMillisForSignaledShutdown": 500,
    # Written once a second into data files that only MongoDB's support can read.
    "diagnosticDataCollectionEnabled": False,
    # The standbys serve no reads, so their caches need not be warmed.
    "mirrorReads": "{ samplingRate: 0.0 }",
}
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The number of connections that mongod accepts, and the exempt addresses."""

    max_incoming: int = MAX_INCOMING_CONNECTIONS
    exempt_addresses: tuple[str, ...] = ()


def limits_for(open_files: int, members: Sequence[str]) -> ConnectionLimits:
    """Return the limits of a mongod that may open *open_files* files.

    The addresses of *members*, which include this node's own, are exempt: other hosts
    that use up the maximum lock out neither the members nor this Console. A loopback
    address is not exempt, because every program of the host can use it.
    """
    affordable = open_files // OPEN_FILES_PER_CONNECTION
    maximum = max(MIN_INCOMING_CONNECTIONS, min(MAX_INCOMING_CONNECTIONS, affordable))
    exempt = [each for each in members if not IPv4Address(each).is_loopback]
    return ConnectionLimits(maximum, tuple(dict.fromkeys(exempt)))


def raise_open_files_limit() -> int:
    """Raise this process's limit of open files, which mongod inherits; return it.

    Log a warning if the host allows fewer than mongod should have.
    """
    available = raise_file_limit()
    if available < MAX_INCOMING_CONNECTIONS * OPEN_FILES_PER_CONNECTION:
        log.warning(
            "only %s files may be open, so mongod accepts fewer connections; raise the "
            "limit of open files to %s (LimitNOFILE, or ulimit -n)",
            available,
            RECOMMENDED_OPEN_FILES,
        )
    return available


def mongod_options(
    settings: Settings, limits: ConnectionLimits | None = None
) -> dict[str, object]:
    """Return the options of this node's mongod, structured as in its file."""
    limits = limits or ConnectionLimits()
    folders = settings.folders
    certificates = folders.certificates
    engine = {"cacheSizeGB": settings.database_cache_gb, "configString": EVICTION}
    small_pages = {"configString": SMALL_PAGES}
    return {
        "storage": {
            "dbPath": str(folders.database),
            "wiredTiger": {
                "engineConfig": engine,
                "collectionConfig": small_pages,
                "indexConfig": small_pages,
            },
        },
        "net": {
            "bindIp": ",".join(settings.private_addresses),
            "port": settings.database_port,
            "unixDomainSocket": {"enabled": False},
            "compression": {"compressors": COMPRESSORS},
            "maxIncomingConnections": limits.max_incoming,
            "maxIncomingConnectionsOverride": list(limits.exempt_addresses),
            "tls": {
                "mode": "requireTLS",
                "certificateKeyFile": str(certificates / CLUSTER_BUNDLE),
                "CAFile": str(certificates / CLUSTER_TRUST),
                "disabledProtocols": "TLS1_0,TLS1_1",
            },
        },
        "replication": {"replSetName": REPLICA_SET, "oplogSizeMB": OPLOG_MB},
        "security": {
            "authorization": "enabled",
            "clusterAuthMode": "keyFile",
            "keyFile": str(folders.secrets / KEYFILE),
            "javascriptEnabled": False,
        },
        "systemLog": {
            "destination": "file",
            "path": str(folders.log / LOG),
            "logAppend": True,
            "logRotate": "reopen",
            "quiet": True,
        },
        "setParameter": dict(PARAMETERS),
    }


def to_config_file(options: Mapping[str, object]) -> bytes:
    """Return *options* as the bytes of the file: JSON, which is valid YAML."""
    return json.dumps(options, indent=2).encode()
