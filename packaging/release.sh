#!/bin/sh
# Builds dist/twistlock_console_<version>.tar.gz with tools of pinned versions.
# Arguments go to packaging/build_release.py.
set -eu
cd "$(dirname "$0")/.."

TOOLS=build/release-tools
WANTED=packaging/requirements-build.txt
mkdir -p build
# Two builds at once (tests do so) set the tools up in turn.
if command -v flock >/dev/null; then
    exec 9<packaging/release.sh
    flock 9
fi
if ! cmp -s "$WANTED" "$TOOLS/installed.txt"; then
    "${PYTHON:-.venv/bin/python}" -m venv --clear "$TOOLS"
    "$TOOLS/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes -r "$WANTED"
    cp "$WANTED" "$TOOLS/installed.txt"
fi
exec 9<&-
exec "$TOOLS/bin/python" packaging/build_release.py "$@"
