"""Settings are checked against this host: its addresses, ports and mongod."""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st

from plugins.ha.settings import HaSettings, InitialState
from tests.unit.settings.test_settings import mistakes
from twistlock_console.common.errors import SettingsError
from twistlock_console.settings import Settings, check_ports_free, load_settings
from twistlock_console.settings.checks import not_mongod
from twistlock_console.settings.host import bind_problem, find_address, full_name
from twistlock_console.settings.keys import all_keys

HERE = "NODE_ADDRESS=127.0.0.1\n"
PROJECT = Path(__file__).parents[3]

Load = Callable[..., Settings]


def test_the_shipped_file_says_the_defaults() -> None:
    """Whoever changes nothing gets the defaults; every key is there, once."""
    path = PROJECT / "config/twistlock.cfg"
    address = find_address() or "127.0.0.1"

    settings = load_settings(path, {"NODE_ADDRESS": address}, on_this_host=False)

    assert settings == Settings(
        node_address=address,
        console_cn=full_name(),
        plugin_values=HaSettings().values(),
    )
    lines = [line for line in path.read_text().split("\n") if line[:1] not in ("", "#")]
    defaults = {f"{key.name}={key.default}" for key in all_keys()}
    assert sorted(lines) == sorted(defaults)


def test_values_arrive(load: Load, tmp_path: Path) -> None:
    """Each kind of value is read as what it is."""
    program = tmp_path / "mongod"
    program.write_text("#!/bin/sh\necho db version v6.0.5\n")
    program.chmod(0o755)

    settings = load(
        f"""
        NODE_ADDRESS=127.0.0.3
        CONSOLE_CN=console
        CONSOLE_SAN="DNS:lb.example.com, IP:10.0.0.5,*.example.com,10.0.0.5,IP:::1"
        MANAGEMENT_PORT_HTTPS=9083  # another
        MANAGEMENT_PORT_UI=
        TRUSTED_PROXIES="10.0.0.5, 10.0.1.0/24,2001:db8::5,::ffff:10.0.0.5"
        DATA_RECOVERY_ENABLED=FALSE
        MONGOD_BINARY='{program}'
        DATABASE_CACHE_GB=1.5
        HIGH_AVAILABILITY_ENABLED=true
        HIGH_AVAILABILITY_STATE=SECONDARY
        HIGH_AVAILABILITY_LEASE_TTL_MS=${{TTL-2000}}
        """
    )

    assert settings == Settings(
        node_address="127.0.0.3",
        console_cn="console",
        console_san=("lb.example.com", "10.0.0.5", "*.example.com", "::1"),
        management_port_https=9083,
        management_port_ui=None,
        trusted_proxies=(
            ip_network("10.0.0.5"),
            ip_network("10.0.1.0/24"),
            ip_network("2001:db8::5"),
        ),
        data_recovery_enabled=False,
        mongod_binary=program,
        database_cache_gb=1.5,
        plugin_values=HaSettings(
            enabled=True, state=InitialState.SECONDARY, lease_ttl_ms=2000
        ).values(),
        data_folder=tmp_path / "data",
    )


@pytest.mark.parametrize(
    "address",
    [
        "node1",
        "10.0.0",
        "10.0.0.1/24",
        "::1",
        "0.0.0.0",  # noqa: S104 - it is refused
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_what_no_host_has_is_no_address(load: Load, address: str) -> None:
    """An address is an IPv4 address that a single host can have."""
    assert mistakes(load, f"NODE_ADDRESS={address}") == [
        f"line 1: NODE_ADDRESS is '{address}': "
        "write an IPv4 address of this host, or nothing to find it"
    ]


def test_the_address_must_be_of_this_host(load: Load) -> None:
    """An address kept for documentation is nobody's."""
    assert mistakes(load, "NODE_ADDRESS=192.0.2.7") == [
        "line 1: NODE_ADDRESS 192.0.2.7 is not an address of this host: "
        "Cannot assign requested address"
    ]


@pytest.mark.parametrize(
    ("content", "bits", "words"),
    [
        pytest.param(None, 0, "cannot be run: No such file", id="missing"),
        pytest.param("#!/bin/sh\n", 0o644, "Permission denied", id="mode"),
        pytest.param("not a program", 0o755, "Exec format error", id="format"),
        pytest.param("#!/bin/sh\necho v1\n", 0o755, "shows no db version", id="other"),
    ],
)
def test_a_wrong_mongod_is_reported(
    load: Load, tmp_path: Path, content: str | None, bits: int, words: str
) -> None:
    """The binary is asked for its version before it is trusted with data."""
    program = tmp_path / "mongod"
    if content is not None:
        program.write_text(content)
        program.chmod(bits)

    [mistake] = mistakes(load, HERE + f"MONGOD_BINARY={program}")

    assert mistake.startswith(f"line 2: MONGOD_BINARY {program} ")
    assert words in mistake


def test_a_mongod_that_does_not_answer_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that hangs does not hang the Console."""
    monkeypatch.setattr("twistlock_console.settings.checks.VERSION_TIMEOUT_S", 0.2)
    program = tmp_path / "mongod"
    program.write_text("#!/bin/sh\nexec sleep 20\n")
    program.chmod(0o755)

    assert not_mongod(program) == f"{program} is not a mongod: --version did not end"


def test_all_mistakes_are_reported_at_once(load: Load, tmp_path: Path) -> None:
    """In the order of the file; what only follows from another is left out."""
    found = mistakes(
        load,
        "MANAGEMENT_PORT_UI=8083 ; reboot\n"
        "COMMUNICATION_PORT=70000\n"
        "PROJECTS_ENABLED=true\n"
        "HIGH_AVAILABILITY_ENABLED=true\n"
        "COMMUNICATION_PORT=8083\n"
        "NODE_ADDRESS=192.0.2.7\n"
        f"MONGOD_BINARY={tmp_path}/none\n"
        "export X=1\n",
        DATA_FOLDER="/proc/x",
    )

    assert [mistake.split(":")[0] for mistake in found] == [
        "environment",
        "line 1",
        "line 4",
        "line 5",
        "line 6",
        "line 7",
        "line 8",
    ]


@rules(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    content=st.binary()
    | st.lists(
        st.tuples(
            st.sampled_from(
                [key.name for key in all_keys() if key.name != "MONGOD_BINARY"]
            ),
            st.text() | st.integers().map(str) | st.floats().map(str),
        )
    ).map(lambda lines: "\n".join(f"{k}={v}" for k, v in lines).encode("utf-8"))
)
def test_no_file_makes_loading_fail_otherwise(load: Load, content: bytes) -> None:
    """Settings or a SettingsError, whatever the file holds."""
    try:
        load(content)
    except SettingsError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    "beyond",
    [
        pytest.param("192.0.2.1", id="a-route"),
        pytest.param("255.255.255.255", id="no-route-so-by-name"),
    ],
)
def test_the_address_found_is_of_this_host(beyond: str) -> None:
    """Or there is none; a look-up that hangs is given up."""
    address = find_address(beyond)

    assert address is None or bind_problem(address) is None
    assert 0 < len(full_name()) <= 64


def test_a_disabled_port_is_not_checked_and_other_problems_are_reported() -> None:
    """An address that went away since is told with the system's reason."""
    with pytest.raises(SettingsError) as error:
        check_ports_free(Settings(node_address="192.0.2.7", management_port_ui=None))

    sentences = str(error.value).split("\n")
    assert not [s for s in sentences if s.startswith("MANAGEMENT_PORT_UI")]
    assert (
        "DATABASE_PORT: port 27017 on 192.0.2.7 cannot be opened: "
        "Cannot assign requested address"
    ) in sentences
