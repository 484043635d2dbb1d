# shellcheck shell=bash disable=SC2154,SC2317  # the values are above this
# Installs a Defender on this host, with everything from the Console; -u removes it.

FOLDER=/opt/twistlock-defender
DATA=/var/lib/twistlock-defender
ACCOUNT=twistlock-defender
UNIT=/etc/systemd/system/twistlock-defender.service
NAME=$(hostname)
PREVENT=
WRITERS=
PYTHON=
GIVEN_PYTHON=${TWISTLOCK_PYTHON-}
WORK=

stop() {
    printf 'Error: %s\n' "$*" >&2
    exit 1
}

main() {
    local option act=deploy
    while getopts "un:pw-:" option; do
        case $option in
            u) act=remove ;;
            n) NAME=$OPTARG ;;
            p) PREVENT=yes ;;
            w) WRITERS=yes ;;
            *)
                # getopts has no long options; the value may follow, or come after "=".
                case $option${OPTARG-} in
                    -python=?*) GIVEN_PYTHON=${OPTARG#*=} ;;
                    -python)
                        GIVEN_PYTHON=${!OPTIND-}
                        OPTIND=$((OPTIND + 1))
                        [ -n "$GIVEN_PYTHON" ] || stop "--python needs the path of a Python."
                        ;;
                    *) stop "Options are: -n NAME, -p to let it end processes, -w to let it report who wrote to a file, --python FILE to choose the Python, -u to uninstall." ;;
                esac
                ;;
        esac
    done
    case ${!OPTIND-} in
        '') ;;
        start) act=launch ;;
        *) stop "Unknown argument: ${!OPTIND}" ;;
    esac
    [ "$(id -u)" = 0 ] || stop "This script must be run as root; run it with sudo."
    $act
}

deploy() {
    [ -n "$TOKEN" ] || stop "This script was downloaded with the credentials of an account, and hosts cannot enrol with those; use the command from Manage > Defenders > Deploy unchanged."
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
    echo "Done. See it on the Console under Manage > Defenders, and here with: $FOLDER/twistlock-defender status"
    [ -n "$PREVENT" ] || echo "It runs without the right to end processes: rules with the effect Prevent only alert here. Run the command again with -p to change that."
}

find_python() {
    local candidate candidates=(/usr/bin/python3 /usr/bin/python3.1{1..4} /usr/local/bin/python3)
    [ -z "$GIVEN_PYTHON" ] || candidates=("$GIVEN_PYTHON")
    # The full path, because the Defender starts in another folder. It runs as another
    # user, who may have no access to it; setpriv runs a program with root's rights.
    for candidate in "${candidates[@]}"; do
        PYTHON=$(realpath -s -- "$(command -v -- "$candidate")" 2>/dev/null) || continue
        # shellcheck disable=SC2016  # that shell expands it
        if setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'exec "$0" "$@"' "$PYTHON" -I -c 'import sys, ssl, sqlite3
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
            return
        fi
    done
    stop "No Python 3.11 to 3.14 that every user may run was found; install one, or name it with --python /path/to/python3."
}

# The token is in no argument: the list of processes would show it.
download() {
    local answered
    local status=0
    answered=$(curl -sS --noproxy '*' --insecure --pinnedpubkey "$PIN" --connect-timeout 10 \
        --config <(printf 'header = "authorization: Bearer %s"\n' "$TOKEN") \
        --write-out '%{http_code}' -o "$WORK/package.tar" \
        "https://$CONSOLE/api/v1/images/twistlock_defender.tar.gz") || status=$?
    [ "$status" != 90 ] ||
        stop "The server at $CONSOLE presents another key than the Console's: it is another program, or a proxy that inspects TLS. If the Console has a new key, copy the command again from Manage > Defenders > Deploy."
    [ "$status" = 0 ] || stop "$CONSOLE does not answer; run the command again when it does.$(without_proxy)"
    [ "$answered" = 200 ] || stop "$(head -c 500 "$WORK/package.tar")"
    tar -xf "$WORK/package.tar" -C "$WORK"
}

# curl runs with --noproxy: the answer of a proxy would say nothing about the Console.
without_proxy() {
    local name
    for name in https_proxy HTTPS_PROXY all_proxy ALL_PROXY; do
        [ -z "${!name-}" ] || { printf ' It was asked directly, not through the proxy in %s.' "$name"; return; }
    done
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
PYTHONPATH=$FOLDER/lib exec "$PYTHON" -P -m twistlock_defender "\$@"
END
    {
        printf '#!/usr/bin/env bash\nset -euo pipefail\numask 022\nCONSOLE= PIN= TOKEN= VERSION=\n'
        declare -f stop main remove remove_program running rights launch
        printf 'FOLDER=%q DATA=%q ACCOUNT=%q UNIT=%q NAME= PREVENT=%q WRITERS=%q\n' "$FOLDER" "$DATA" "$ACCOUNT" "$UNIT" "$PREVENT" "$WRITERS"
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
        stop "The Console issued no certificate; nothing was started."
    chown -R "$ACCOUNT:" "$DATA"
    chmod 700 "$DATA"
}

# The Defender reads all files and inspects all processes; it may end processes only with
# -p. The kernel reports who wrote to a file only with CAP_SYS_ADMIN, hence -w.
rights() {
    printf 'CAP_DAC_READ_SEARCH CAP_SYS_PTRACE%s%s\n' "${PREVENT:+ CAP_KILL}" "${WRITERS:+ CAP_SYS_ADMIN}"
}

start() {
    if [ -d /run/systemd/system ]; then
        cat >"$UNIT" <<END
[Unit]
Description=Twistlock Defender
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=$FOLDER/twistlock-defender run --folder $DATA
User=$ACCOUNT
AmbientCapabilities=$(rights)
CapabilityBoundingSet=$(rights)
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
    echo "This host has no systemd: the Defender runs in the background, and does not survive a reboot. Make the host run this at boot: $FOLDER/defender.sh start"
    launch
}

# Start the Defender that is installed, unless it runs.
launch() {
    local rights
    [ -z "$(running)" ] || return 0
    if [ -e "$UNIT" ]; then
        systemctl start twistlock-defender
        return
    fi
    rights=$(rights)
    rights=${rights//CAP_/+} && rights=${rights// /,} && rights=${rights,,}
    # The account opens the log itself: in its folder that may be a link to what is root's.
    # shellcheck disable=SC2016  # the account's shell expands it
    setsid setpriv --reuid="$ACCOUNT" --regid="$ACCOUNT" --clear-groups --inh-caps="-all,$rights" --ambient-caps="-all,$rights" \
        bash -c 'exec "$@" >>"$0" 2>&1' "$DATA/defender.log" \
        "$FOLDER/twistlock-defender" run --folder "$DATA" </dev/null >/dev/null 2>&1 &
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

# Prints the process ids of the Defender of this folder. A running Defender has its lock
# open; the lock of a container is another file of the same name. A Defender that has just
# started has no lock yet: it is found by its pid, which another program may have by now.
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
