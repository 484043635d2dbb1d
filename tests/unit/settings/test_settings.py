"""Settings are right, or the operator is told all that is wrong, at once."""

import logging
import re
import socket
import stat
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from plugins.ha.settings import HaSettings
from tests.hosts.ports import free_ports
from twistlock_console.common.errors import SettingsError
from twistlock_console.settings import (
    Folders,
    Settings,
    check_ports_free,
    load_settings,
)
from twistlock_console.settings.checks import unwritable
from twistlock_console.settings.host import full_name
from twistlock_console.settings.keys import IGNORED_KEYS, KEYS, all_keys

HERE = "NODE_ADDRESS=127.0.0.1\n"
PROJECT = Path(__file__).parents[3]

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Give a function that loads settings from a text, on a plain host."""

    def load(
        text: str | bytes, environ: Mapping[str, str] | None = None, **how: bool
    ) -> Settings:
        path = tmp_path / "twistlock.cfg"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        environ = {"DATA_FOLDER": str(tmp_path / "data"), **(environ or {})}
        return load_settings(path, environ, root=tmp_path, **how)

    return load


def mistakes(load: Load, text: str | bytes, **environ: str) -> list[str]:
    """Give the mistakes in *text*, without the path before each."""
    with pytest.raises(SettingsError) as error:
        load(text, environ)
    return re.sub(r"(?m)^/\S*/twistlock.cfg(, |: )", "", str(error.value)).split("\n")


def test_the_shipped_file_looks_like_the_product() -> None:
    """Sections stand between lines of 45 number signs."""
    text = (PROJECT / "config/twistlock.cfg").read_text()

    titles = re.findall(rf"^{'#' * 45}\n# +(.+)\n{'#' * 45}$", text, re.MULTILINE)
    assert titles == [
        "Network configuration",
        "Twistlock system configuration",
        "High availability settings",
    ]


def test_an_empty_file_is_enough(load: Load, tmp_path: Path) -> None:
    """Missing keys have their defaults."""
    settings = load("", {"NODE_ADDRESS": "127.0.0.1"})

    assert settings == Settings(
        node_address="127.0.0.1",
        console_cn=full_name(),
        data_folder=tmp_path / "data",
        plugin_values=HaSettings().values(),
    )


def test_every_key_fills_its_field() -> None:
    """The table and the settings agree, and no key is both ours and ignored."""
    attributes = {key.attribute for key in KEYS}
    assert attributes | {"plugin_values"} == {f.name for f in fields(Settings)}
    assert IGNORED_KEYS.isdisjoint(key.name for key in all_keys())


def test_the_environment_overrides_the_file(load: Load) -> None:
    """Even where the file's own value is wrong; an empty value counts."""
    text = HERE + "MANAGEMENT_PORT_HTTPS=nonsense\nMANAGEMENT_PORT_UI=1\n"

    settings = load(text, {"MANAGEMENT_PORT_HTTPS": "9000", "MANAGEMENT_PORT_UI": ""})

    assert settings.management_port_https == 9000
    assert settings.management_port_ui is None


def test_mistakes_in_the_environment_are_reported_as_such(load: Load) -> None:
    """Nobody searches the file for them."""
    with pytest.raises(SettingsError) as error:
        load(HERE, {"DATABASE_PORT": "x"})

    assert str(error.value) == (
        "environment: DATABASE_PORT is 'x': a port is a number from 1 to 65535"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "MANAGEMENT_PORT_HTTPS=8084\n\nCOMMUNICATION_PORT=8084",
            "line 4: MANAGEMENT_PORT_HTTPS and COMMUNICATION_PORT are both 8084; "
            "each needs its own port",
            id="ports-twice",
        ),
        pytest.param(
            "DATABASE_PORT=8086",
            "line 2: HIGH_AVAILABILITY_PORT and DATABASE_PORT are both 8086; "
            "each needs its own port",
            id="port-of-a-default",
        ),
        pytest.param(
            "COMMUNICATION_PORT=65536",
            "line 2: COMMUNICATION_PORT is '65536': a port is a number from 1 to 65535",
            id="port-too-high",
        ),
        pytest.param(
            "MANAGEMENT_PORT_HTTPS=",
            "line 2: MANAGEMENT_PORT_HTTPS is empty: "
            "a port is a number from 1 to 65535",
            id="port-empty",
        ),
        pytest.param(
            "HIGH_AVAILABILITY_STATE=LEADER",
            "line 2: HIGH_AVAILABILITY_STATE is 'LEADER': write PRIMARY or SECONDARY",
            id="state",
        ),
        pytest.param(
            "HIGH_AVAILABILITY_ENABLED=yes",
            "line 2: HIGH_AVAILABILITY_ENABLED is 'yes': write true or false",
            id="switch",
        ),
        pytest.param(
            "HIGH_AVAILABILITY_ENABLED=true\nPROJECTS_ENABLED=true",
            "line 3: high availability does not go together with Projects; "
            "set HIGH_AVAILABILITY_ENABLED or PROJECTS_ENABLED to false",
            id="projects",
        ),
        pytest.param(
            "MANAGEMENT_PORT_HTTP=8081",
            "line 2: MANAGEMENT_PORT_HTTP must be empty: plain HTTP is not offered; "
            "use MANAGEMENT_PORT_HTTPS",
            id="plain-http",
        ),
        pytest.param(
            "CONSOLE_CN=$(hostname)",
            "line 2: CONSOLE_CN: shell code is not run: '$(hostname)'; "
            "write the plain value, ${VAR-default} to take it from the environment, "
            "or put special characters in 'single quotes'",
            id="shell",
        ),
        pytest.param(
            f"CONSOLE_CN={'x' * 65}",
            f"line 2: CONSOLE_CN is '{'x' * 57}...': "
            "a common name has at most 64 letters of ASCII, and no %",
            id="common-name",
        ),
        pytest.param(
            "CONSOLE_CN=Zürich",
            "line 2: CONSOLE_CN is 'Zürich': "
            "a common name has at most 64 letters of ASCII, and no %",
            id="no-name",
        ),
        pytest.param(
            "CONSOLE_SAN=fe80::1%eth0",
            "line 2: CONSOLE_SAN is 'fe80::1%eth0': 'fe80::1%eth0' is an address of "
            "one host's network interface; no certificate can name it",
            id="scoped-address",
        ),
        pytest.param(
            "CONSOLE_SAN=a.example,300.1.1.1",
            "line 2: CONSOLE_SAN is 'a.example,300.1.1.1': '300.1.1.1' is neither "
            "a DNS name nor an IP address; write them with commas between",
            id="names",
        ),
        pytest.param(
            "TRUSTED_PROXIES=lb.example.com",
            "line 2: TRUSTED_PROXIES is 'lb.example.com': 'lb.example.com' is neither "
            "an IP address nor a network like 10.0.0.0/24; write them with commas "
            "between",
            id="proxy-name",
        ),
        pytest.param(
            "TRUSTED_PROXIES=10.0.0.5/24",
            "line 2: TRUSTED_PROXIES is '10.0.0.5/24': '10.0.0.5/24' is an address in "
            "a network; write 10.0.0.0/24 for the network, or 10.0.0.5 for the address "
            "alone",
            id="proxy-in-a-network",
        ),
        pytest.param(
            "TRUSTED_PROXIES=10.0.0.5,0.0.0.0/0",
            "line 2: TRUSTED_PROXIES is '10.0.0.5,0.0.0.0/0': '0.0.0.0/0' stands for "
            "all addresses; name the proxies' own",
            id="every-proxy",
        ),
        pytest.param(
            "DATABASE_CACHE_GB=0.1",
            "line 2: DATABASE_CACHE_GB is '0.1': "
            "write a number of gigabytes from 0.25 to 10000",
            id="cache",
        ),
        pytest.param(
            "DATABASE_CACHE_GB=nan",
            "line 2: DATABASE_CACHE_GB is 'nan': "
            "write a number of gigabytes from 0.25 to 10000",
            id="cache-nan",
        ),
        pytest.param(
            "DATABASE_CACHE_GB=much",
            "line 2: DATABASE_CACHE_GB is 'much': "
            "write a number of gigabytes from 0.25 to 10000",
            id="cache-word",
        ),
        *(
            pytest.param(
                f"DATABASE_CACHE_GB={text}",
                f"line 2: DATABASE_CACHE_GB is '{text}': "
                "write a number of gigabytes from 0.25 to 10000",
                id=f"cache-{name}",
            )
            for name, text in (
                ("underscore", "1_0"),
                ("digits", "\uff11"),
                ("sign", "+1"),
            )
        ),
        pytest.param(
            "DATA_RECOVERY_VOLUME=/srv/../backup",
            "line 2: DATA_RECOVERY_VOLUME is '/srv/../backup': "
            "write the path without ..",
            id="path-upwards",
        ),
        pytest.param(
            "HIGH_AVAILABILITY_LEASE_TTL_MS=100",
            "line 2: HIGH_AVAILABILITY_LEASE_TTL_MS is '100': "
            "write whole milliseconds from 500 to 60000",
            id="lease",
        ),
        pytest.param(
            "HIGH_AVAILABILITY_STEP_UP_AFTER_MS=3000",
            "line 2: HIGH_AVAILABILITY_STEP_UP_AFTER_MS must be at least two "
            "heartbeat intervals (400) and less than the election timeout (3000)",
            id="step-up",
        ),
        pytest.param(
            "DATA_RECOVERY_VOLUME=backup",
            "line 2: DATA_RECOVERY_VOLUME is 'backup': "
            "write a full path that begins with /",
            id="relative-path",
        ),
    ],
)
def test_a_wrong_value_is_one_sentence_with_its_line(
    load: Load, text: str, expected: str
) -> None:
    """The sentence says what would be right."""
    assert mistakes(load, HERE + text) == [expected]


@pytest.mark.parametrize(
    ("variable", "manager"),
    [
        ("KUBERNETES_SERVICE_HOST", "Kubernetes"),
        ("ECS_CONTAINER_METADATA_URI_V4", "Amazon ECS"),
    ],
)
def test_ha_is_refused_in_a_managers_container(
    load: Load, variable: str, manager: str
) -> None:
    """The cluster manager keeps the Console up there; without HA all is well."""
    assert mistakes(
        load, HERE + "HIGH_AVAILABILITY_ENABLED=true", **{variable: "x"}
    ) == [
        f"line 2: high availability is not for a Console under {manager} "
        f"({variable} is set); set HIGH_AVAILABILITY_ENABLED=false and let the "
        "cluster manager restart it"
    ]
    assert not HaSettings.of(load(HERE, {variable: "x"})).enabled


def test_ha_is_refused_in_a_swarm(load: Load, tmp_path: Path) -> None:
    """A member of a swarm is known by Docker's own state file."""
    state = tmp_path / "var/lib/docker/swarm/docker-state.json"
    state.parent.mkdir(parents=True)
    state.touch()

    [mistake] = mistakes(load, HERE + "HIGH_AVAILABILITY_ENABLED=true")

    assert mistake.startswith(
        "line 2: high availability is not for a Console under Docker Swarm (/var/lib"
    )


@pytest.mark.parametrize(
    "folder", ["/proc/twistlock", "{tmp}/file/data", "/" + "x" * 5000, "{tmp}/file"]
)
def test_an_unwritable_folder_is_reported(
    load: Load, tmp_path: Path, folder: str
) -> None:
    """Even to root, and nothing is left of the attempt."""
    (tmp_path / "file").touch()
    before = set(tmp_path.iterdir())
    wanted = folder.format(tmp=tmp_path)

    [mistake] = mistakes(load, HERE + "DATABASE_CACHE_GB=", DATA_FOLDER=wanted)

    assert mistake.startswith(f"environment: DATA_FOLDER {wanted} ")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "twistlock.cfg"}


def test_loading_makes_nothing(load: Load, tmp_path: Path) -> None:
    """Folders are made when the node starts, not when its settings are read."""
    deep = tmp_path / "a/b/c"

    settings = load(HERE, {"DATA_FOLDER": str(deep)})

    assert settings.data_folder == deep
    assert [path.name for path in tmp_path.iterdir()] == ["twistlock.cfg"]


def test_a_folder_that_is_there_is_enough(tmp_path: Path) -> None:
    """It is looked at and not written to."""
    assert unwritable(tmp_path) is None


def test_a_lost_backup_volume_is_a_warning(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    """A Console without backups serves better than none."""
    load(HERE + "DATA_RECOVERY_VOLUME=/proc/backup")
    load(HERE + "DATA_RECOVERY_VOLUME=/proc/backup\nDATA_RECOVERY_ENABLED=false")

    [message] = caplog.messages
    assert message.startswith("no backups can be made: DATA_RECOVERY_VOLUME /proc/")


def test_a_missing_file_is_reported_as_the_installer_does(tmp_path: Path) -> None:
    """The words are the product's."""
    for path in (tmp_path / "twistlock.cfg", tmp_path):
        with pytest.raises(SettingsError) as error:
            load_settings(path, {})
        assert str(error.value) == f"Configuration file {path} must be present"


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    """The reason is the system's."""
    with pytest.raises(SettingsError, match=r"cannot be read: .*too long"):
        load_settings(tmp_path / ("x" * 300), {})


def test_binary_garbage_is_one_mistake(load: Load) -> None:
    """Not one for each line."""
    assert mistakes(load, b"\x00\xff\n" * 50, NODE_ADDRESS="127.0.0.1") == [
        "the file is not UTF-8 text; save it as plain text"
    ]


def test_one_value_can_be_wrong_in_two_ways(load: Load) -> None:
    """Each combination is told, though a key is in several."""
    found = mistakes(
        load,
        HERE + "DATABASE_PORT=8083\nHIGH_AVAILABILITY_PORT=8083\n"
        "PROJECTS_ENABLED=true\nHIGH_AVAILABILITY_ENABLED=true",
        KUBERNETES_SERVICE_HOST="10.0.0.1",
    )

    assert [mistake[:30] for mistake in found] == [
        "line 2: MANAGEMENT_PORT_HTTPS ",
        "line 3: MANAGEMENT_PORT_HTTPS ",
        "line 5: high availability does",
        "line 5: high availability is n",
    ]


def test_unknown_keys_are_warned_about(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    """With the line and the nearest key; the product's other keys are quiet."""
    accepted = "".join(f"{key}=\n" for key in IGNORED_KEYS)

    load(HERE + "HIGH_AVAILABILTY_ENABLED=true\n" + accepted)

    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith(
        "twistlock.cfg, line 2: HIGH_AVAILABILTY_ENABLED is not a known key and is "
        "ignored; the nearest is HIGH_AVAILABILITY_ENABLED"
    )


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        pytest.param("CUSTOM_CERT", "", id="foreign"),
        pytest.param("FIPS_ENABLED", "", id="foreign-with-a-common-ending"),
        pytest.param("X", "", id="short"),
        pytest.param("DOCKER_SOCKETS", "", id="near-to-one-that-means-nothing"),
        pytest.param("CONSOLE_SANS", "; the nearest is CONSOLE_SAN", id="one-letter"),
        pytest.param("data_folder", "; the nearest is DATA_FOLDER", id="small-letters"),
        pytest.param("DATABASE_CACHE", "; the nearest is DATABASE_CACHE_GB", id="word"),
    ],
)
def test_only_a_near_key_is_suggested(
    load: Load, caplog: pytest.LogCaptureFixture, key: str, hint: str
) -> None:
    """A key of another product is ignored without a wrong suggestion."""
    load(f"{HERE}{key}=x\n")

    [record] = caplog.records
    assert record.getMessage().endswith(
        f"line 2: {key} is not a known key and is ignored{hint}"
    )


@pytest.mark.parametrize(
    ("address", "service", "private"),
    [
        ("127.0.0.11", ("127.0.0.11",), ("127.0.0.11",)),
        ("10.0.0.5", ("0.0.0.0", "::"), ("10.0.0.5", "127.0.0.1")),  # noqa: S104
    ],
)
def test_where_ports_are_opened(
    address: str, service: tuple[str, ...], private: tuple[str, ...]
) -> None:
    """A node on loopback keeps to its own address, so that several fit on a host."""
    settings = Settings(node_address=address)

    assert settings.service_addresses == service
    assert settings.private_addresses == private


def test_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Making them again closes them again; the root keeps the mode it had."""
    root = tmp_path / "a" / "b"
    folders = Folders(root)

    folders.create()
    (folders.secrets / "kept").touch()
    folders.log.chmod(0o755)
    folders.create()

    names = ["certificates", "db", "images", "log", "run", "scripts", "secrets"]
    assert sorted(path.name for path in root.iterdir()) == names
    for path in (root, *root.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert Settings(node_address="127.0.0.1", data_folder=root).folders == folders
    assert (folders.secrets / "kept").exists()


@pytest.mark.parametrize("found", [None, "127.0.1.1"])
def test_without_an_address_ha_does_not_start(
    load: Load, monkeypatch: pytest.MonkeyPatch, found: str | None
) -> None:
    """Others could not reach it; told to, a node may still be on loopback."""
    monkeypatch.setattr(
        "twistlock_console.settings.loading.find_address", lambda: found
    )

    assert mistakes(load, "NODE_ADDRESS=\nHIGH_AVAILABILITY_ENABLED=true") == [
        "line 1: no address of this host is found that other hosts could reach; "
        "set NODE_ADDRESS to one"
    ]
    assert HaSettings.of(load(HERE + "HIGH_AVAILABILITY_ENABLED=true")).enabled


def test_free_ports_are_found_free_and_taken_ones_named() -> None:
    """Service ports count on a standby too: it may have to open them."""
    https, ui, communication, ha, database = free_ports(5)
    settings = Settings(
        node_address="127.0.0.1",
        management_port_https=https,
        management_port_ui=ui,
        communication_port=communication,
        node_api_port=ha,
        database_port=database,
    )
    check_ports_free(settings)

    with (
        socket.create_server(("127.0.0.1", ui)),
        socket.create_server(("127.0.0.1", database)),
        pytest.raises(SettingsError) as error,
    ):
        check_ports_free(settings)

    assert str(error.value).split("\n") == [
        f"{key}: port {port} on 127.0.0.1 is taken by another program; "
        "end that program or choose another port"
        for key, port in (("MANAGEMENT_PORT_UI", ui), ("DATABASE_PORT", database))
    ]


def test_the_manual_has_every_key() -> None:
    """Each key has its row, with default and meaning, and no other key has one."""
    text = (PROJECT / "docs/settings.md").read_text()

    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert sorted(rows) == sorted(
        (key.name, f"`{key.default}`" if key.default else "empty", key.help)
        for key in all_keys()
    )
    assert [key for key in IGNORED_KEYS if f"`{key}`" not in text] == []
