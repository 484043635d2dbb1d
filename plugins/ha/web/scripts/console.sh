# shellcheck shell=bash disable=SC2034,SC2154  # the values and checks.sh stand above this
# What the join command runs on a host that is to become a node. It takes all that it
# needs from the primary, and changes nothing before every check has passed.

INSTALL_FOLDER=/opt/twistlock
NEEDED_DATA_GB=10
NEEDED_INSTALL_GB=1
LONGEST_CLOCK_DIFFERENCE=120
WAIT_SECONDS=60
CHECK_ONLY=false
WORK=

usage() {
    cat <<'END'
Usage: ... | sudo bash -s -- [-y] [--python FILE] [check]

  check           only say whether this host could join, and what is in the way
  -y              go on although this host has less disk or memory than recommended
  --python FILE   the Python to use
END
}

read_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
            -y) GO_ON=true ;;
            check) CHECK_ONLY=true ;;
            --python)
                [ -n "${2-}" ] || { usage >&2; exit 2; }
                GIVEN_PYTHON=$2
                shift
                ;;
            *) usage >&2; exit 2 ;;
        esac
        shift
    done
}

main() {
    read_arguments "$@"
    check_root
    [ -n "$TOKEN" ] ||
        stop "This script was downloaded with the login of an account, and no host joins with that; use the command from Manage > System > High Availability as it is."
    say "Twistlock Console $VERSION: preparing this host to join the cluster of $PRIMARY"
    trap clean_up EXIT
    trap 'exit 1' HUP INT TERM
    rm -rf /var/tmp/twistlock-join.* # of a run that lost its power
    WORK=$(mktemp -d /var/tmp/twistlock-join.XXXXXX)
    preflight
    if $CHECK_ONLY; then
        say "This host can join; nothing was changed."
        return
    fi
    download
    prepare
    say "3/4 Installing"
    install_release
    wait_until_known
}

install_release() {
    local options=(-s --python "$PYTHON" -c "$WORK/joined.cfg" --invitation "$WORK/invitation.json")
    if $GO_ON; then options+=(-y); fi
    bash "$WORK/release/twistlock.sh" "${options[@]}" console
}

# shellcheck disable=SC2317  # the trap calls it
clean_up() { rm -rf "$WORK"; }

preflight() {
    check_machine
    check_python
    check_cluster_manager
    check_member
    check_disk "$DATA_FOLDER" "$NEEDED_DATA_GB"
    check_disk "$INSTALL_FOLDER" "$NEEDED_INSTALL_GB"
    check_clock
    [ -z "$PYTHON" ] || {
        check_network
        check_folders
    }
    # shellcheck disable=SC2086  # a list of numbers
    check_ports $PORTS
    [ "$PROBLEMS" = 0 ] || stop "This host cannot join yet; nothing was installed."
    say "1/4 This host is fit: address $ADDRESS, $("$PYTHON" --version)"
}

check_member() {
    local installed
    if [ -e "$DATA_FOLDER/certificates/node.pem" ]; then
        problem "This host is a Console already, with its data in $DATA_FOLDER; to let it join, remove it from its cluster and uninstall it: $INSTALL_FOLDER/twistlock.sh -u"
        return
    fi
    installed=$(cat "$INSTALL_FOLDER/current/VERSION" 2>/dev/null) || return 0
    [ "$installed" = "$VERSION" ] ||
        problem "Version $installed of the Console is installed here and the cluster has $VERSION; uninstall it first: $INSTALL_FOLDER/twistlock.sh -u"
}

check_clock() {
    local difference
    difference=$(($(date +%s) - NOW))
    [ "${difference#-}" -le "$LONGEST_CLOCK_DIFFERENCE" ] ||
        warn "The clock of this host is $((${difference#-} / 60)) min off the primary's; set it, with chrony or systemd-timesyncd. Certificates and the times of audits depend on it."
}

# Our address on the way to the primary, and whether that way leads through a router.
check_network() {
    local found
    found=$("$PYTHON" -I - "$PRIMARY" <<'END'
import socket, struct, sys
number = lambda address: struct.unpack("=I", socket.inet_aton(address))[0]
best = (-1, 0)
for line in open("/proc/net/route").read().splitlines()[1:]:
    parts = line.split()
    target, flags, mask = (int(parts[i], 16) for i in (1, 3, 7))
    if flags & 1 and number(sys.argv[1]) & mask == target:
        best = max(best, (bin(mask).count("1"), flags & 2))
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.connect((sys.argv[1], 9))
print(probe.getsockname()[0], "routed" if best[1] else "near")
END
    ) || {
        problem "This host has no route to $PRIMARY."
        return
    }
    ADDRESS=${found% *}
    [ "${found#* }" = near ] ||
        problem "This host reaches $PRIMARY only through a router; all nodes must be on one local network."
}

# The folders of the settings, with the code that checks them at every installation.
check_folders() {
    local options=(--install-folder "$INSTALL_FOLDER") findings
    [ -d /run/systemd/system ] || options+=(--without-systemd)
    unpack_checker "$WORK/checker"
    findings=$(printf '%s\n' "$FOLDERS" | timeout -k 5 120 env -i PATH="$SERVICE_PATH" LANG=C.UTF-8 "$PYTHON" -I -S -B -c '
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module("twistlock_console.host_folders.check", run_name="__main__")' "$WORK/checker" "${options[@]}") || {
        problem "The folders of the settings could not be checked, see above."
        return
    }
    report_findings "$findings"
}

# The token is in no argument: the list of processes would show it.
fetch() { # PATH CURL-OPTIONS...
    local status=0
    curl -sS --noproxy '*' --insecure --pinnedpubkey "$PIN" --connect-timeout 10 \
        --config <(printf 'header = "authorization: Bearer %s"\n' "$TOKEN") \
        "${@:2}" "https://$PRIMARY:$PORT$1" || status=$?
    [ $status != 90 ] ||
        stop "Whatever answers at $PRIMARY:$PORT shows another key than the Console's: another program, or a proxy that inspects TLS. Nothing was installed."
    [ $status != 23 ] || stop "What $PRIMARY sent cannot be written to $WORK; is the disk full? Nothing was installed."
    [ $status = 0 ] || stop "$PRIMARY does not answer on port $PORT; run the join command again when it does.$(without_proxy)"
}

download() {
    local answered
    say "2/4 Downloading the release from $PRIMARY"
    answered=$(fetch /api/v1/images/twistlock_console.tar.gz --write-out '%{http_code}' -o "$WORK/release.tar.gz")
    [ "$answered" = 200 ] || stop "$(told "$WORK/release.tar.gz")"
    echo "$SHA256  $WORK/release.tar.gz" | sha256sum --check --quiet --status ||
        stop "The release that $PRIMARY sent is damaged; run the join command again."
    mkdir "$WORK/release"
    tar -xzf "$WORK/release.tar.gz" -C "$WORK/release" --strip-components=1
    rm "$WORK/release.tar.gz"
}

# The sentence in an answer {"err": "..."}.
told() {
    "$PYTHON" -I -c 'import json, sys; print(json.load(open(sys.argv[1]))["err"])' "$1" 2>/dev/null ||
        echo "$PRIMARY refused without saying why."
}

# The token is readable for root alone until twistlock.sh hands it to the account.
prepare() {
    {
        printf '%s\n' "$SETTINGS"
        echo "NODE_ADDRESS=$ADDRESS"
    } >"$WORK/joined.cfg"
    (
        umask 077
        printf '{"address": "%s", "port": %s, "pin": "%s", "token": "%s"}\n' \
            "$PRIMARY" "$PORT" "$PIN" "$TOKEN" >"$WORK/invitation.json"
    )
}

wait_until_known() {
    local deadline=$((SECONDS + WAIT_SECONDS)) answered
    say "4/4 Asking $PRIMARY to join"
    while :; do
        answered=$(fetch "/api/v1/high-availability/join-requests/$ADDRESS" \
            --write-out '%{http_code}' -o "$WORK/answer.json")
        [ "$answered" != 200 ] || break
        [ $SECONDS -lt $deadline ] || stop "$(told "$WORK/answer.json") See $DATA_FOLDER/log/console.log or: journalctl -u twistlock-console"
        sleep 1
    done
    say "This host waits in the state REQUEST_JOIN; click APPLY on the primary's page."
    say "Its fingerprint there must be this:"
    printf '%s\n' "$("$INSTALL_FOLDER/current/bin/twistlock-console" --log-level error ha fingerprint --config "$DATA_FOLDER/scripts/twistlock.cfg")"
}

main "$@" </dev/null
exit
