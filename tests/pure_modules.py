"""Prints the files of the pure modules, as pyproject.toml lists them, with commas.

`make test` demands that the tests cover all of each.
"""

import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def pure_modules() -> list[str]:
    """The modules that the contract "pure" of import-linter is about."""
    contracts = tomllib.loads(PROJECT.read_text())["tool"]["importlinter"]["contracts"]
    return next(c["source_modules"] for c in contracts if c.get("id") == "pure")


if __name__ == "__main__":
    files = (f"{name.replace('.', '/')}.py" for name in pure_modules())
    print(",".join(files))  # noqa: T201
