"""`twistlock-console demo`."""

import argparse
from pathlib import Path


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the command."""
