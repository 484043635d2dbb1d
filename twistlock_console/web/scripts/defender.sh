# shellcheck shell=bash disable=SC2154,SC2317  # the values stand above this
# Installs a Defender on this host, with everything from the Console; -u removes it.

FOLDER=/opt/twistlock-defender
DATA=/var/lib/twistlock-defender
ACCOUNT=twistlock-defender
UNIT=/etc/systemd/system/twistlock-defender.service
NAME=$(hostname)
PREVENT=
WRITERS=
PYTHON=
WORK=

stop() {
    printf 'Error: %s\n' "$*" >&2
    exit 1
}

main() {
    local option act=deploy
    while getopts "un:pw" option; do
        case $option in
            u) act=remove ;;
            n) NAME=$OPTARG ;;
            p) PREVENT=yes ;;
            w) WRITERS=yes ;;
            *) stop "Options are: -n NAME, -p to let it end processes, -w to let it tell who wrote to a file, -u to uninstall." ;;
        esac
    done
    [ "$(id -u)" = 0 ] || stop "This script must be run as root; run it with sudo."
    $act
}

deploy() {
    [ -n "$TOKEN" ] || stop "This script was downloaded with the login of an account, and no host enrols with that; use the command from Manage > Defenders > Deploy as it is."
    [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || stop "The Defender runs on x86-64 Linux; this host is $(uname -s) on $(uname -m)."
    find_python
    WORK=$(mktemp -d /var/tmp/twistlock-defender.XXXXXX)
    trap 'rm -rf "$WORK"' EXIT
    echo "1/4 Downloading the Defender $VERSION from $CONSOLE"
    download
    echo "2/4 Installing it in $FOLDER"
    unpack
    echo "3/4 Getting a certificate for $NAME"
    enrol
    echo "4/4 Starting it"
    start
    echo "Done. It is to be seen on the Console under Manage > Defenders, and here with: $FOLDER/twistlock-defender status"
    [ -n "$PREVENT" ] || echo "It runs without the right to end processes: rules with the effect Prevent only alert here. Run the command again with -p to change that."
}

find_python() {
    local candidate candidates=(/usr/bin/python3 /usr/bin/python3.1{1..4} /usr/local/bin/python3)
    [ -z "${TWISTLOCK_PYTHON-}" ] || candidates=("$TWISTLOCK_PYTHON")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -I -c 'import sys, ssl, sqlite3; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
            PYTHON=$candidate
            return
        fi
    done
    stop "Python 3.11 to 3.14 is needed and was not found; install it, or name it with TWISTLOCK_PYTHON=/path/to/python3."
}

# The token is in no argument: the list of processes would show it.
download() {
    local answered
    answered=$(curl -sS --insecure --pinnedpubkey "$PIN" --connect-timeout 10 \
        --config <(printf 'header = "authorization: Bearer %s"\n' "$TOKEN") \
        --write-out '%{http_code}' -o "$WORK/package.tar" \
        "https://$CONSOLE/api/v1/images/twistlock_defender.tar.gz") ||
        stop "$CONSOLE does not answer, or shows another key than before; copy the command anew from Manage > Defenders > Deploy."
    [ "$answered" = 200 ] || stop "$(head -c 500 "$WORK/package.tar")"
    tar -xf "$WORK/package.tar" -C "$WORK"
}

# A wheel is a ZIP file; those that fit this Python are unpacked beside each other.
unpack() {
    local wheel tag
    tag=$("$PYTHON" -I -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
    remove_program
    mkdir -p "$FOLDER/lib"
    for wheel in "$WORK"/*-py3-none-*.whl "$WORK"/*-py2.py3-none-*.whl "$WORK"/*-"$tag"-*.whl "$WORK"/*-abi3-*.whl; do
        [ ! -e "$wheel" ] || "$PYTHON" -I -m zipfile -e "$wheel" "$FOLDER/lib"
    done
    cat >"$FOLDER/twistlock-defender" <<END
#!/bin/sh
PYTHONPATH=$FOLDER/lib exec $PYTHON -P -m twistlock_defender "\$@"
END
    {
        printf '#!/usr/bin/env bash\nset -euo pipefail\nCONSOLE= PIN= TOKEN= VERSION=\n'
        declare -f stop main remove remove_program running
        printf 'FOLDER=%q DATA=%q ACCOUNT=%q UNIT=%q NAME= PREVENT= WRITERS=\n' "$FOLDER" "$DATA" "$ACCOUNT" "$UNIT"
        printf 'deploy() { stop "Copy the command from Manage > Defenders > Deploy to install."; }\n'
        # shellcheck disable=SC2016  # it is the script's argument list
        printf 'main "$@"\n'
    } >"$FOLDER/defender.sh"
    chmod 755 "$FOLDER/twistlock-defender" "$FOLDER/defender.sh"
}

enrol() {
    id "$ACCOUNT" >/dev/null 2>&1 || useradd --system --home-dir "$DATA" --no-create-home --shell /usr/sbin/nologin "$ACCOUNT"
    mkdir -p "$DATA"
    printf '%s\n' "$TOKEN" | "$FOLDER/twistlock-defender" --log-level error enrol "$CONSOLE" --pin "$PIN" --name "$NAME" --folder "$DATA" ||
        stop "The Console gave no certificate; nothing was started."
    chown -R "$ACCOUNT:" "$DATA"
    chmod 700 "$DATA"
}

# It reads all files and looks at all processes; it may end some only with -p. The
# kernel tells who wrote to a file to those with CAP_SYS_ADMIN alone, hence -w.
start() {
    local rights=CAP_DAC_READ_SEARCH,CAP_SYS_PTRACE
    [ -z "$PREVENT" ] || rights=$rights,CAP_KILL
    [ -z "$WRITERS" ] || rights=$rights,CAP_SYS_ADMIN
    if [ -d /run/systemd/system ]; then
        cat >"$UNIT" <<END
[Unit]
Description=Twistlock Defender
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=$FOLDER/twistlock-defender run --folder $DATA
User=$ACCOUNT
AmbientCapabilities=${rights//,/ }
CapabilityBoundingSet=${rights//,/ }
NoNewPrivileges=yes
Restart=always
RestartSec=2
MemoryMax=512M
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
END
        systemctl daemon-reload
        systemctl enable --quiet twistlock-defender
        systemctl restart twistlock-defender
        return
    fi
    echo "This host has no systemd: the Defender runs in the background, and must be started again after a boot."
    rights=${rights//CAP_/+} && rights=${rights,,}
    setsid setpriv --reuid="$ACCOUNT" --regid="$ACCOUNT" --clear-groups --inh-caps="-all,$rights" --ambient-caps="-all,$rights" \
        "$FOLDER/twistlock-defender" run --folder "$DATA" </dev/null >>"$DATA/defender.log" 2>&1 &
    echo $! >"$FOLDER/pid"
}

remove_program() {
    if [ -e "$UNIT" ]; then
        systemctl disable --now --quiet twistlock-defender || true
        rm -f "$UNIT"
        systemctl daemon-reload || true
    fi
    local waited=0
    running | xargs -r kill 2>/dev/null || true
    while [ -n "$(running)" ] && [ $((waited += 1)) -lt 50 ]; do sleep 0.1; done
    running | xargs -r kill -9 2>/dev/null || true
    rm -rf "${FOLDER:?}"
}

# The Defender of this folder, whoever started it, has its lock open; so has a container's,
# which is another file of that name. One that only begins has none yet: it is known by its
# number, which may be another program's by now.
running() {
    local pid
    pid=$(cat "$FOLDER/pid" 2>/dev/null) || pid=none
    ! tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q "twistlock.defender run --folder $DATA " || echo "$pid"
    find /proc/[0-9]*/fd -lname "$DATA/lock" -exec test {} -ef "$DATA/lock" \; -print 2>/dev/null | cut -d/ -f3 || true
}

remove() {
    remove_program
    rm -rf "${DATA:?}"
    userdel "$ACCOUNT" 2>/dev/null || true
    echo "The Defender is removed from this host; decommission it on the Console under Manage > Defenders."
}

main "$@" </dev/null
exit
