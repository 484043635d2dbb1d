"""A release that installs in a second: the real installer, and a stand-in Console.

The wheel of our own package is real, as the installer asks it; the Python environment
and the Console in it are made of scripts.
"""

import hashlib
import tomllib
import zipfile
from pathlib import Path

from tests.join.bare_host import BareHost
from twistlock_console.plugins import GROUP

PROJECT = Path(__file__).parents[2]
WHEEL = "twistlock_console_ha-0-py3-none-any.whl"
PARTS = {
    "twistlock.sh": "packaging/twistlock.sh",
    "twistlock-console.service": "packaging/twistlock-console.service",
    "checks.sh": "plugins/ha/web/scripts/checks.sh",
    "twistlock.cfg": "config/twistlock.cfg",
    "README.md": "README.md",
    "LICENSE": "LICENSE",
}
# Asked for an environment, it makes one whose python installs nothing.
TOY_PYTHON = """#!/bin/sh
[ "$1 $2 $3" = "-I -m venv" ] || exec /usr/bin/python3 "$@"
mkdir -p "$5/bin" "$5/lib/python3/site-packages/fiftyone/db/bin"
touch "$5/lib/python3/site-packages/fiftyone/db/bin/mongod"
cp /root/toy-console "$5/bin/twistlock-console"
cat >"$5/bin/values" <<'END'
#!/bin/sh
exec /usr/bin/python3 -I -c 'import runpy, sys, glob
wheels = glob.glob("/root/twistlock_console_*/wheels/twistlock_console_ha*")
sys.path.insert(0, wheels[0])
sys.argv[1:] = ["installed", "--config", sys.argv[1]]
runpy.run_module("twistlock_console.installation", run_name="__main__")' "$1"
END
cat >"$5/bin/python" <<'END'
#!/bin/sh
case $2 in */pip) exit 0 ;; esac
exec /usr/bin/python3 "$@"
END
chmod 755 "$5/bin/python" "$5/bin/values"
"""
# What the installer and an administrator see of a Console.
TOY_CONSOLE = """#!/usr/bin/python3 -I
import pathlib, signal, socket, sys
if sys.argv[1] == "run":
    config = pathlib.Path(sys.argv[3]).read_text()
    if "CONSOLE_CN=broken" in config:
        sys.exit("it does not start")
    data = pathlib.Path(sys.argv[3]).parents[1]
    for name in ("db", "log", "certificates", "secrets", "run"):
        (data / name).mkdir(mode=0o700, exist_ok=True)
    (data / "db/WiredTiger").touch()
    (data / "certificates/node.pem").touch()
    with socket.create_server(("127.0.0.1", 8086)) as server:
        (data / "run/version").write_text(str(pathlib.Path(sys.argv[0]).parents[1]))
        (data / "run/config").write_text(config)
        signal.pause()
elif sys.argv[1] == "status":
    socket.create_connection(("127.0.0.1", 8086), timeout=5).close()
    print('{"running": true, "ready": true, "serving": true}')
"""


def unpack_toy(host: BareHost, version: str = "26.11.2") -> str:
    """Put the release into root's home on *host*; gives its folder there."""
    folder = f"/root/twistlock_console_{version}"
    made = host.tree(folder)
    (made / "wheels").mkdir(parents=True)
    for name, source in PARTS.items():
        (made / name).write_bytes((PROJECT / source).read_bytes())
    script = made / "twistlock.sh"
    patient = "START_SECONDS=${TOY_START_SECONDS:-90}"
    script.write_text(script.read_text().replace("START_SECONDS=90", patient))
    for name in ("docs", "licenses"):
        (made / name).mkdir()
        (made / name / "README").touch()
    (made / "VERSION").write_text(f"{version}\n")
    (made / "requirements.txt").touch()
    with zipfile.ZipFile(made / "wheels" / WHEEL, "w") as wheel:
        for package in ("twistlock_console", "plugins"):
            for path in (PROJECT / package).rglob("*.py"):
                wheel.write(path, path.relative_to(PROJECT))
        about = "twistlock_console_ha-0.dist-info"
        wheel.writestr(f"{about}/METADATA", "Name: twistlock-console-ha\nVersion: 0\n")
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
        plugins = project["entry-points"][GROUP]
        points = "".join(f"{name} = {place}\n" for name, place in plugins.items())
        wheel.writestr(f"{about}/entry_points.txt", f"[{GROUP}]\n{points}")
    (made / "wheels/pip-0-py3-none-any.whl").touch()
    (made / "twistlock.sh").chmod(0o755)
    _seal(made)
    host.own_program("toy-python", TOY_PYTHON)
    console = host.tree("/root/toy-console")
    console.write_text(TOY_CONSOLE)
    console.chmod(0o755)
    host.tree("/root").chmod(0o755)
    return folder


def _seal(folder: Path) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n"
        for path in files
        if path.name != "twistlock.cfg"
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))
