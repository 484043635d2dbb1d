"""Write the entry points of a checkout where Python finds them.

An installed package has them in its metadata. A checkout is used without installing
it, so this writes `NAME.egg-info` beside the packages, which Python finds because the
folder of `app.py` is on its path. Called by packaging/setup.sh.
"""

import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PROJECTS = (CHECKOUT / "pyproject.toml", CHECKOUT / "demo/pyproject.toml")


def main() -> None:
    """Write the metadata of each project that is there."""
    for file in PROJECTS:
        if file.exists():
            write_metadata(tomllib.loads(file.read_text())["project"])


def write_metadata(project: dict[str, object]) -> None:
    """Write the egg-info folder of one *project* table of a pyproject.toml."""
    groups = project.get("entry-points", {})
    if not isinstance(groups, dict):
        return
    folder = CHECKOUT / f"{str(project['name']).replace('-', '_')}.egg-info"
    folder.mkdir(exist_ok=True)
    _write(
        folder / "PKG-INFO",
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0\n",
    )
    lines = []
    for group, points in groups.items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {target}" for name, target in points.items()]
    _write(folder / "entry_points.txt", "\n".join(lines) + "\n")


def _write(file: Path, text: str) -> None:
    # Unchanged files keep their time: other programs may be reading them.
    if not file.exists() or file.read_text() != text:
        file.write_text(text)


if __name__ == "__main__":
    main()
