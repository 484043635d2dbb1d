"""Build the release tarball: everything that a host needs to install the Console.

    packaging/build_release.py [--version N] [--output DIR]

Needs pip and hatchling, which packaging/release.sh provides, and the package index.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
#: Every Python for which wheels are carried; the installer takes any of them.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
#: The oldest C library that MongoDB's program and all wheels run with.
PLATFORMS = tuple(
    f"manylinux{name}_x86_64" for name in ("_2_34", "_2_28", "_2_26", "2014", "1")
)
SOURCES = ("twistlock_console", "plugins", "twistlock_defender", "config")
FILES = (
    "app.py",
    "wsgi.py",
    "pyproject.toml",
    "requirements.in",
    "packaging/read_dependencies.py",
    "packaging/defender/pyproject.toml",
    "README.md",
    "LICENSE",
)
REQUIREMENTS = (
    PROJECT / "requirements.txt",
    PROJECT / "packaging/requirements-pip.txt",
)
PLAIN = (
    "packaging/twistlock.sh",
    "packaging/twistlock-console.service",
    "config/twistlock.cfg",
    "plugins/ha/web/scripts/checks.sh",
    "requirements.txt",
)
LICENCE = re.compile(
    r"[^/]+\.dist-info/(licenses/)?[^/]*(licen[cs]e|copying|notice)", re.I
)


def main() -> None:
    """Build the tarball, and print its path and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", help="build as this version, to try an upgrade")
    parser.add_argument("--output", type=Path, default=PROJECT / "dist")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="release-") as made:
        tarball = build(Path(made), options.output, options.version)
    print(f"{tarball} {tarball.stat().st_size / 2**20:.1f} MB")  # noqa: T201


def build(work: Path, output: Path, version: str | None) -> Path:
    """Build the tarball in *output*, using *work* for temporary files."""
    source = _copy_of_source(work / "source", version)
    version = version_of(source)
    release = work / f"twistlock_console_{version}"
    wheels = release / "wheels"
    wheels.mkdir(parents=True)
    _build_wheel(source, wheels)
    _build_wheel(source / "packaging/defender", wheels)
    _carried_wheels(wheels)
    _copy_plain_files(source, release, version)
    shutil.copytree(PROJECT / "docs", release / "docs")
    _require_own_wheel(release)
    collect_licences(wheels, release / "licenses")
    write_checksums(release)
    output.mkdir(parents=True, exist_ok=True)
    return pack(release, output / f"{release.name}.tar.gz")


def version_of(source: Path) -> str:
    """Return the version that the package in *source* declares."""
    text = (source / "twistlock_console/__init__.py").read_text()
    found = re.search(r'__version__ = "([^"]+)"', text)
    if found is None:
        raise SystemExit("twistlock_console/__init__.py has no __version__")
    return found[1]


def _copy_of_source(source: Path, version: str | None) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in SOURCES:
        shutil.copytree(PROJECT / name, source / name, ignore=ignored)
    (source / "packaging/defender").mkdir(parents=True)
    for name in FILES:
        shutil.copy(PROJECT / name, source / name)
    shutil.copy(PROJECT / "LICENSE", source / "packaging/defender")
    if version is not None:
        init = source / "twistlock_console/__init__.py"
        text = re.sub(
            r'__version__ = ".*"', f'__version__ = "{version}"', init.read_text()
        )
        init.write_text(text)
    return source


def _build_wheel(source: Path, wheels: Path) -> None:
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source))


def _carried_wheels(wheels: Path) -> None:
    """Copy the requirements' wheels; fetched once for each set of requirements."""
    wanted = repr((PYTHONS, PLATFORMS)).encode()
    wanted += b"".join(path.read_bytes() for path in REQUIREMENTS)
    kept = PROJECT / "build/wheels" / hashlib.sha256(wanted).hexdigest()[:16]
    if not kept.exists():
        draft = kept.with_suffix(f".{os.getpid()}")
        _download_wheels(draft)
        draft.rename(kept)
    for path in kept.iterdir():
        shutil.copy(path, wheels)


def _download_wheels(wheels: Path) -> None:
    """Fetch every requirement for every Python; each file's hash must be known."""
    platforms = [f"--platform={name}" for name in PLATFORMS]
    for python in PYTHONS:
        _pip(
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            f"--python-version={python}",
            "--implementation=cp",
            *platforms,
            "--requirement",
            str(REQUIREMENTS[0]),
            "--dest",
            str(wheels),
        )
    # Debian's Python has no pip of its own; a wheel of it runs as it is.
    _pip(
        "download",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--requirement",
        str(REQUIREMENTS[1]),
        "--dest",
        str(wheels),
    )


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*command, *arguments, "--quiet"], check=True)


def _copy_plain_files(source: Path, release: Path, version: str) -> None:
    for name in PLAIN:
        shutil.copy(PROJECT / name, release)
    for name in ("README.md", "LICENSE"):
        shutil.copy(source / name, release)
    (release / "twistlock.sh").chmod(0o755)
    (release / "VERSION").write_text(f"{version}\n")


def _require_own_wheel(release: Path) -> None:
    """Add our own wheel with its hash, so that one run of pip installs everything."""
    wheel = next(release.glob("wheels/twistlock_console_ha-*.whl"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    version = wheel.name.split("-")[1]
    with (release / "requirements.txt").open("a") as requirements:
        requirements.write(f"twistlock-console-ha=={version} --hash=sha256:{digest}\n")


def collect_licences(wheels: Path, folder: Path) -> None:
    """Copy the licences of all *wheels* to *folder*, with a list of them."""
    shutil.copytree(PROJECT / "packaging/licenses", folder)
    lines = []
    for path in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(path) as wheel:
            lines.append(_licence_of(wheel, folder))
    unique = "".join(f"{line}\n" for line in dict.fromkeys(lines))
    (folder / "CARRIED.txt").write_text(unique)


def _licence_of(wheel: zipfile.ZipFile, folder: Path) -> str:
    names = wheel.namelist()
    metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
    fields = HeaderParser().parsestr(wheel.read(metadata).decode())
    for name in names:
        if LICENCE.match(name):
            place = folder / fields["Name"] / Path(name).name
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(wheel.read(name))
    terms = (
        fields["License-Expression"] or fields["License"] or _classified(fields.items())
    )
    return f"{fields['Name']} {fields['Version']}: {terms.splitlines()[0]}"


def _classified(fields: list[tuple[str, str]]) -> str:
    found = [v for k, v in fields if k == "Classifier" and v.startswith("License")]
    return found[0].rpartition(" :: ")[2] if found else "see its folder"


def write_checksums(release: Path) -> None:
    """Write SHA256SUMS of all files except twistlock.cfg, which is to be edited."""
    lines = []
    for path in sorted(release.rglob("*")):
        name = str(path.relative_to(release))
        if path.is_file() and name not in ("twistlock.cfg", "SHA256SUMS"):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{digest}  {name}\n")
    (release / "SHA256SUMS").write_text("".join(lines))


def pack(release: Path, tarball: Path) -> Path:
    """Pack *release* into *tarball*, with every file owned by root."""

    def owned_by_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        return info

    # Wheels are compressed already: nothing would be gained.
    with tarfile.open(tarball, "w:gz", compresslevel=0) as packed:
        packed.add(release, arcname=release.name, filter=owned_by_root)
    return tarball


if __name__ == "__main__":
    main()
