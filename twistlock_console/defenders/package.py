"""The package that a Defender is installed from: its wheels, out of the release."""

import io
import os
import re
import tarfile
import threading
from pathlib import Path

from twistlock_console.common.errors import Refused

RELEASE = "twistlock_console.tar.gz"
PACKAGE = "twistlock_defender.tar.gz"
#: What the agent imports, and what that needs.
NEEDED = {
    *("twistlock_console_ha", "websockets", "watchdog"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_extensions"),
    *("typing_inspection", "cryptography", "cffi", "pycparser"),
}
#: A whole fleet may ask for the first one at once.
_making = threading.Lock()


def defender_package(images: Path) -> Path:
    """Give the package, made anew when the release is newer. Raises Refused."""
    release, package = images / RELEASE, images / PACKAGE
    if not release.exists():
        raise Refused(
            "The Console was not installed by twistlock.sh, so it has no release to "
            f"take the Defender from; put the release tarball at {release}."
        )
    with _making:
        if not package.exists() or package.stat().st_mtime < release.stat().st_mtime:
            _make(release, package)
    return package


def _make(release: Path, package: Path) -> None:
    draft = package.with_suffix(f".{os.getpid()}")
    try:
        with tarfile.open(release) as whole, tarfile.open(draft, "w") as part:
            _copy_needed(whole, part)
        draft.replace(package)
    finally:
        draft.unlink(missing_ok=True)


def _copy_needed(whole: tarfile.TarFile, part: tarfile.TarFile) -> None:
    for member in whole:
        name = Path(member.name).name
        if not member.isfile() or not _is_needed(name):
            continue
        content = whole.extractfile(member)
        kept = tarfile.TarInfo(name)
        kept.size, kept.mode = member.size, 0o644
        part.addfile(kept, content or io.BytesIO())


def _is_needed(name: str) -> bool:
    project = name.split("-")[0].lower()
    return name.endswith(".whl") and re.sub(r"[-.]", "_", project) in NEEDED
