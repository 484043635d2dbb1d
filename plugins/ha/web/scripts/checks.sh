# shellcheck shell=bash
# What a host must have before a Console is installed. Read by twistlock.sh, and part
# of the script for hosts that join. Each check tells a problem in one sentence; all
# are told before anybody stops.

GO_ON=false
PROBLEMS=0
PYTHON=
GIVEN_PYTHON=${TWISTLOCK_PYTHON-}
FIRST_PYTHON=11
LAST_PYTHON=14
# That of a service under systemd.
# shellcheck disable=SC2034  # twistlock.sh and console.sh use it
SERVICE_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

colour() { # CODE TEXT...
    if [ -t 2 ]; then printf '\033[%sm%s\033[0m\n' "$1" "${*:2}" >&2; else printf '%s\n' "${*:2}" >&2; fi
}
say() { colour 32 "$*"; }
warn() { colour 33 "Warning: $*"; }
problem() {
    colour 31 "Error: $*"
    PROBLEMS=$((PROBLEMS + 1))
}
# Too little of something: the one kind of problem that -y overrules.
short() {
    if $GO_ON; then warn "$* Going on, because of -y."; else problem "$* To bypass, run again with -y."; fi
}
stop() {
    colour 31 "Error: $*"
    exit 1
}

# Lines of a severity, a tab and a sentence, as the check of the folders prints them.
report_findings() { # TEXT
    local severity sentence
    while IFS=$'\t' read -r severity sentence <&5; do
        case $severity in
            error) problem "$sentence" ;;
            warning) warn "$sentence" ;;
        esac
    done 5< <(printf '%s\n' "$1")
}

check_root() {
    [ "$(id -u)" = 0 ] || stop "This script must be run as root; run it with sudo."
}

check_machine() {
    local system machine
    system=$(uname -s) machine=$(uname -m)
    [ "$system $machine" = "Linux x86_64" ] ||
        problem "The Console runs on x86-64 Linux; this host is $system on $machine."
}

# Find a Python of the right age that an unprivileged user may run. The option --python
# names one, and so does TWISTLOCK_PYTHON where sudo lets it through.
check_python() {
    local candidate candidates=(/usr/bin/python3 /usr/bin/python3.1{1..4}
        /usr/local/bin/python3 /usr/local/bin/python3.1{1..4})
    [ -z "$GIVEN_PYTHON" ] || candidates=("$GIVEN_PYTHON")
    for candidate in "${candidates[@]}"; do
        if _is_fit "$candidate"; then
            export PYTHON=$candidate
            return
        fi
    done
    problem "Python 3.$FIRST_PYTHON to 3.$LAST_PYTHON with its venv module is needed and was not found;" \
        "install it (on Debian and Ubuntu: apt-get install python3 python3-venv; on RHEL: dnf install python3.11)," \
        "or name it with --python /path/to/python3."
}

# setpriv itself still has root's rights when it runs a program; a shell has not.
_is_fit() {
    # shellcheck disable=SC2016  # that shell expands it
    setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'exec "$0" "$@"' "$1" -I -c "import sys, ssl, venv
sys.exit(not (3, $FIRST_PYTHON) <= sys.version_info[:2] <= (3, $LAST_PYTHON))" >/dev/null 2>&1
}

# curl is run with --noproxy: the nodes are on one network, and a proxy's answer would
# say nothing about them.
without_proxy() {
    local name
    for name in https_proxy HTTPS_PROXY all_proxy ALL_PROXY; do
        [ -z "${!name-}" ] || { printf ' It was asked directly, not through the proxy in %s.' "$name"; return; }
    done
}

check_ports() {
    local port
    for port in "$@"; do
        if _is_taken "$port"; then
            problem "Port $port is taken by another program; free it, or set another port in twistlock.cfg."
        fi
    done
}

_is_taken() {
    local wanted
    wanted=$(printf ':%04X' "$1")
    # Without IPv6 there is no second file.
    { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true; } | awk -v wanted="$wanted" '
        $4 == "0A" && substr($2, length($2) - 4) == wanted { found = 1 }
        END { exit !found }'
}

# Free space is asked of the nearest folder that exists.
check_disk() { # FOLDER GIGABYTES
    local folder=$1 free
    while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
    free=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1048576) }')
    [ "$free" -ge "$2" ] ||
        short "Low storage: $1 has $free GB free and the Console needs $2 GB."
}

check_memory() { # MEGABYTES
    local there
    there=$(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo)
    [ "$there" -ge "$1" ] ||
        short "Low memory: this host has $there MB and the Console needs $1 MB."
    [ "$(nproc)" -ge 2 ] || warn "This host has one CPU; two are recommended."
}

# The environment of process 1 tells too: sudo has taken the variables from ours.
check_cluster_manager() {
    local variable manager='' names
    names=$(env && tr '\0' '\n' 2>/dev/null </proc/1/environ) || true
    for variable in KUBERNETES_SERVICE_HOST ECS_CONTAINER_METADATA_URI ECS_CONTAINER_METADATA_URI_V4; do
        if grep -q "^$variable=" <<<"$names"; then
            case $variable in
                KUBERNETES*) manager="Kubernetes" ;;
                *) manager="Amazon ECS" ;;
            esac
        fi
    done
    [ ! -e /var/run/secrets/kubernetes.io ] || manager="Kubernetes"
    [ ! -e /var/run/docker/swarm/control.sock ] || manager="Docker Swarm"
    [ ! -e /var/lib/docker/swarm/docker-state.json ] || manager="Docker Swarm"
    [ -z "$manager" ] ||
        problem "High availability is not for hosts under $manager; use the cluster manager's own means."
}
