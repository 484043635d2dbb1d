"""What our mongod is told, as its configuration file."""

import json
from collections.abc import Mapping

from twistlock_console.database.connection_limits import ConnectionLimits
from twistlock_console.pki.identity_files import CLUSTER_BUNDLE, CLUSTER_TRUST
from twistlock_console.settings import Settings

REPLICA_SET = "twistlock"
LOG = "mongod.log"
KEYFILE = "mongod.key"
OPLOG_MB = 1024
#: Without zlib: mongod decompresses before anybody has logged in, and releases of 6.0
#: before 6.0.27 then disclose memory (CVE-2025-14847). Our own clients use none.
COMPRESSORS = "snappy,zstd"

#: A page is written back at a stroke, and all writes wait for the processor meanwhile:
#: 0.1 s for one of 10 MB, its default. It counts for collections made from now on.
SMALL_PAGES = "memory_page_max=1m"
#: One thread that writes pages back, not four at the same time, and not all the time:
#: by default it begins at 5 % of the cache, and who writes must help it from 20 % on.
#: What a checkpoint writes once a minute need not be written before.
EVICTION = (
    "eviction=(threads_min=1,threads_max=1),"
    "eviction_dirty_target=40,eviction_dirty_trigger=60,"
    "eviction_updates_target=20,eviction_updates_trigger=40"
)

PARAMETERS: Mapping[str, bool | int | str] = {
    # Users are made with the keyfile: nobody gets in without a password, ever.
    "enableLocalhostAuthBypass": False,
    # How long a standby clings to a sync source that stopped answering; its default
    # of 5 s is what delays majority writes after a black hole.
    "oplogNetworkTimeoutBufferSeconds": 0,
    # A standby whose source died asks it again after 1, 2, 4 … 512 ms, and turns to a
    # new primary as soon as it hears of one. With fewer tries it finds, before anybody
    # is elected, nobody to follow, and sleeps for a second.
    "oplogFetcherSteadyStateMaxFetcherRestarts": 10,
    # Who follows whom is the Console's to say: nobody changes over to a closer node.
    "changeSyncSourceThresholdMillis": 0,
    # A primary that is told to end looks for a heir for this long, at most.
    "shutdownTimeoutMillisForSignaledShutdown": 500,
    # Written once a second into data files that only MongoDB's support can read.
    "diagnosticDataCollectionEnabled": False,
    # The standbys serve no reads: there is no cache to keep warm for them.
    "mirrorReads": "{ samplingRate: 0.0 }",
}


def mongod_options(
    settings: Settings, limits: ConnectionLimits | None = None
) -> dict[str, object]:
    """Give the options of this node's mongod, in the shape of its file."""
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


def as_file(options: Mapping[str, object]) -> bytes:
    """Write *options* as mongod reads them: JSON, which is YAML as well."""
    return json.dumps(options, indent=2).encode()
