"""Prints what a node's database has of Defenders' findings, as JSON by Defender.

Findings are told by number, in the order of their numbers.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from twistlock_console.database.client import connect, credentials_for
from twistlock_console.settings import load_settings

SHOWN = ("number", "time", "kind", "sentence", "outcome", "pid", "path", "change")


def main() -> None:
    """Read the configuration that is given, and that node's database."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--like", default="", help="how the Defenders' names begin")
    options = parser.parse_args()
    settings = load_settings(options.config, {})
    stored: dict[str, list[Any]] = {}
    with connect(
        settings, credentials_for(settings, "console"), app_name="test", timeout_ms=9000
    ) as client:
        events = client["twistlock"]["defender_events"]
        found = events.find({"_id": {"$regex": f"^{options.like}"}}).sort("_id", 1)
        for event in found:
            event["time"] = event["time"].isoformat()
            told = [event.get(name) for name in SHOWN]
            stored.setdefault(event["defender"], []).append(told)
    sys.stdout.write(json.dumps(stored))


if __name__ == "__main__":
    main()
