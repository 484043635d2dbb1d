"""Define the settings of high availability, and check them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from twistlock_console.settings import Settings, host
from twistlock_console.settings.checks import Finding
from twistlock_console.settings.keys import Key
from twistlock_console.settings.parsers import milliseconds, true_or_false

PREFIX = "HIGH_AVAILABILITY_"


class InitialState(StrEnum):
    """The role of a node that starts and belongs to no cluster yet."""

    PRIMARY = "PRIMARY"
    SECONDARY = "SECONDARY"


def state(text: str) -> InitialState:
    """Parse HIGH_AVAILABILITY_STATE; raises ValueError."""
    if text.upper() not in InitialState.__members__:
        raise ValueError("write PRIMARY or SECONDARY")
    return InitialState(text.upper())


KEYS = (
    Key(
        "HIGH_AVAILABILITY_ENABLED",
        "false",
        true_or_false,
        "Whether this node takes part in high availability.",
    ),
    Key(
        "HIGH_AVAILABILITY_STATE",
        "PRIMARY",
        state,
        "PRIMARY on the first node; the join script writes SECONDARY on the others.",
    ),
    Key(
        "HIGH_AVAILABILITY_LEASE_TTL_MS",
        "1800",
        milliseconds(500, 60_000),
        "Milliseconds that a lease to serve lasts without renewal.",
    ),
    Key(
        "HIGH_AVAILABILITY_LEASE_TTL_MAX_MS",
        "1800",
        milliseconds(500, 60_000),
        "Milliseconds up to which a lease grows while renewals are slow; it never "
        "grows if that is not more than HIGH_AVAILABILITY_LEASE_TTL_MS.",
    ),
    Key(
        "HIGH_AVAILABILITY_HEARTBEAT_INTERVAL_MS",
        "200",
        milliseconds(50, 10_000),
        "Milliseconds between the heartbeats of the nodes.",
    ),
    Key(
        "HIGH_AVAILABILITY_POLL_INTERVAL_MS",
        "1000",
        milliseconds(100, 60_000),
        "Milliseconds between two polls of the state of the whole cluster.",
    ),
    Key(
        "HIGH_AVAILABILITY_STEP_UP_AFTER_MS",
        "700",
        milliseconds(100, 30_000),
        "Milliseconds of the primary's silence after which a standby steps up; "
        "at least two heartbeats, and less than the election timeout.",
    ),
    Key(
        "HIGH_AVAILABILITY_ELECTION_TIMEOUT_MS",
        "3000",
        milliseconds(1000, 60_000),
        "Milliseconds of silence after which MongoDB itself elects a new primary.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HaSettings:
    """The values of KEYS; a key is PREFIX and the name of the field in capitals."""

    enabled: bool = False
    state: InitialState = InitialState.PRIMARY
    lease_ttl_ms: int = 1800
    lease_ttl_max_ms: int = 1800
    heartbeat_interval_ms: int = 200
    poll_interval_ms: int = 1000
    step_up_after_ms: int = 700
    election_timeout_ms: int = 3000

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the values in *settings*, with defaults for missing ones."""
        values = settings.plugin_values
        names = {f"{PREFIX}{field.upper()}": field for field in cls.__slots__}
        return cls(**{f: values[name] for name, f in names.items() if name in values})

    def values(self) -> dict[str, object]:
        """Return the values by key, as `Settings.plugin_values` has them."""
        return {f"{PREFIX}{f.upper()}": getattr(self, f) for f in self.__slots__}


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Yield values that contradict each other."""
    yield from _check_times(HaSettings.of(settings))
    if HaSettings.of(settings).enabled and settings.projects_enabled:
        yield (
            ("HIGH_AVAILABILITY_ENABLED", "PROJECTS_ENABLED"),
            "high availability does not go together with Projects; "
            "set HIGH_AVAILABILITY_ENABLED or PROJECTS_ENABLED to false",
        )


def _check_times(ours: HaSettings) -> Iterator[Finding]:
    two_heartbeats = 2 * ours.heartbeat_interval_ms
    election = ours.election_timeout_ms
    if not two_heartbeats <= ours.step_up_after_ms < election:
        yield (
            (
                "HIGH_AVAILABILITY_HEARTBEAT_INTERVAL_MS",
                "HIGH_AVAILABILITY_STEP_UP_AFTER_MS",
                "HIGH_AVAILABILITY_ELECTION_TIMEOUT_MS",
            ),
            "HIGH_AVAILABILITY_STEP_UP_AFTER_MS must be at least two heartbeat "
            f"intervals ({two_heartbeats}) and less than the election timeout "
            f"({election})",
        )


def check_host(environ: Mapping[str, str], root: Path) -> Iterator[Finding]:
    """Yield a finding if a cluster manager runs this host, which excludes HA."""
    if manager := host.detect_orchestrator(environ, root):
        yield (
            ("HIGH_AVAILABILITY_ENABLED",),
            f"high availability is not for a Console under {manager}; set "
            "HIGH_AVAILABILITY_ENABLED=false and let the cluster manager restart it",
        )
