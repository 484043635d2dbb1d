#!/bin/sh
# Builds dist/twistlock_console_<version>.tar.gz with tools of pinned versions.
# Arguments go to packaging/build_release.py.
set -eu
cd "$(dirname "$0")/.."

TOOLS=build/release-tools
WANTED=packaging/requirements-build.txt
if ! cmp -s "$WANTED" "$TOOLS/installed.txt"; then
    "${PYTHON:-.venv/bin/python}" -m venv --clear "$TOOLS"
    "$TOOLS/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes -r "$WANTED"
    cp "$WANTED" "$TOOLS/installed.txt"
fi
exec "$TOOLS/bin/python" packaging/build_release.py "$@"
