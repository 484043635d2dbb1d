"""The files for Prometheus and Grafana: right by promtool, and true of our metrics."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "config" / "monitoring"
DOCUMENTED = set(
    re.findall(r"`(twistlock_\w+)`", (ROOT / "docs/alerts-and-metrics.md").read_text())
)
RULES = FOLDER / "twistlock-rules.yml"
DASHBOARD = FOLDER / "grafana-dashboard.json"
PARTS = re.compile(r"_(bucket|sum|count)$")


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *words], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", RULES),
        ("check", "config", "--syntax-only", FOLDER / "prometheus.yml"),
        ("test", "rules", Path(__file__).with_name("rules_test.yml")),
    ],
    ids=lambda words: " ".join(map(str, words[:2])),
)
def test_promtool_finds_nothing_wrong(words: tuple[str | Path, ...]) -> None:
    """The rules and the example can be used as they are, and the rules mean it."""
    done = promtool(*words)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda file: file.name)
def test_every_metric_named_exists(file: Path) -> None:
    """Another test, of the metrics, sees to it that the manual lists what there is."""
    named = {
        PARTS.sub("", name) for name in re.findall(r"twistlock_\w+", file.read_text())
    }

    assert named <= DOCUMENTED


def test_the_dashboard_shows_every_metric() -> None:
    """Whatever the Console tells is on it, each panel in a place of its own."""
    dashboard = json.loads(DASHBOARD.read_text())
    shown = json.dumps([panel["targets"] for panel in dashboard["panels"]])
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]

    assert [name for name in sorted(DOCUMENTED) if name not in shown] == []
    assert len(set(places)) == len(places)
