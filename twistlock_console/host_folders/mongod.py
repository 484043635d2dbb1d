"""Whether a program is a mongod that runs on this host."""

import subprocess
import tempfile
from pathlib import Path

VERSION_TIMEOUT_S = 10.0


def why_not_mongod(program: Path, timeout_s: float = VERSION_TIMEOUT_S) -> str | None:
    """Say why *program* cannot be run as mongod, if so."""
    try:
        # A file, not a pipe: what the program leaves behind cannot hold us up.
        with tempfile.TemporaryFile() as output:
            subprocess.run(
                [program, "--version"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
            output.seek(0)
            if b"db version" in output.read(10_000):
                return None
            return "is not a mongod: --version shows no db version"
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return "is not a mongod: --version did not end"
