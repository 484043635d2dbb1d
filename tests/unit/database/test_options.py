"""What mongod is told follows from the settings alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from twistlock_console.database.options import (
    EVICTION,
    SMALL_PAGES,
    mongod_options,
    to_config_file,
)
from twistlock_console.settings import Settings

CHOSEN = Settings(
    node_address="192.0.2.7",
    data_folder=Path("/data"),
    database_port=27020,
    database_cache_gb=0.75,
)


def told(path: str, settings: Settings = CHOSEN) -> object:
    value: Any = json.loads(to_config_file(mongod_options(settings)))
    for key in path.split("."):
        value = value[key]
    return value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("storage.dbPath", "/data/db"),
        ("storage.wiredTiger.engineConfig.cacheSizeGB", 0.75),
        ("storage.wiredTiger.engineConfig.configString", EVICTION),
        ("storage.wiredTiger.collectionConfig.configString", SMALL_PAGES),
        ("storage.wiredTiger.indexConfig.configString", SMALL_PAGES),
        ("net.bindIp", "192.0.2.7,127.0.0.1"),
        ("net.port", 27020),
        ("net.unixDomainSocket.enabled", False),
        ("net.compression.compressors", "snappy,zstd"),
        ("net.maxIncomingConnections", 1000),
        ("net.tls.mode", "requireTLS"),
        ("net.tls.certificateKeyFile", "/data/certificates/cluster-bundle.pem"),
        ("net.tls.CAFile", "/data/certificates/cluster-trust.pem"),
        ("net.tls.disabledProtocols", "TLS1_0,TLS1_1"),
        ("replication.replSetName", "twistlock"),
        ("replication.oplogSizeMB", 1024),
        ("security.authorization", "enabled"),
        ("security.clusterAuthMode", "keyFile"),
        ("security.keyFile", "/data/secrets/mongod.key"),
        ("systemLog.path", "/data/log/mongod.log"),
        ("systemLog.logAppend", True),
        ("systemLog.logRotate", "reopen"),
        ("setParameter.enableLocalhostAuthBypass", False),
        ("setParameter.oplogNetworkTimeoutBufferSeconds", 0),
        ("setParameter.shutdownTimeoutMillisForSignaledShutdown", 500),
    ],
)
def test_mongod_is_told(path: str, value: object) -> None:
    """Each setting reaches the option that it is for; the rest is fixed."""
    assert told(path) == value


def test_a_node_on_the_loopback_listens_there_alone() -> None:
    """Nodes that share one host for a test must not take each other's 127.0.0.1."""
    settings = Settings(node_address="127.0.0.12", data_folder=Path("/data"))

    assert told("net.bindIp", settings) == "127.0.0.12"


def test_hosts_are_never_trusted_unseen() -> None:
    """No option switches a certificate check off."""
    tls = told("net.tls")

    assert isinstance(tls, dict)
    assert not [key for key in tls if key.startswith("allow")]
