#!/bin/sh
# Makes this checkout ready to run: the Python environment in .venv, and what Debian
# packages a target needs. Does only what is still missing, so call it every time.
#
#   packaging/setup.sh demo      what `make demo` needs
#   packaging/setup.sh lint      what `make lint` and `make fmt` need
#   packaging/setup.sh test      what `make test` needs
#   packaging/setup.sh analysis  what `make mutants` and `make fuzz` need
set -eu
cd "$(dirname "$0")/.."

PYTHON_NEEDED="import sys; sys.exit(sys.version_info < (3, 11))"
PATH="$PATH:/usr/sbin:/sbin"

say() {
    echo "setup: $*" >&2
}

# One line a thing that a target needs: how to see that it is there, and its package.
needs() {
    cat <<END
ensurepip                                     python3-venv
END
    [ "$1" = lint ] && echo "shellcheck           shellcheck"
    case $1 in lint | analysis) return ;; esac
    cat <<END
libcurl.so.4                                  libcurl4
haproxy                                       haproxy
END
    # Only root may cut a node of the demo off.
    [ "$(id -u)" = 0 ] && echo "iptables             iptables"
    [ "$1" = demo ] && return
    [ "$(id -u)" = 0 ] && echo "nft                  nftables"
    cat <<END
nginx                                         nginx-light
/usr/lib/nginx/modules/ngx_stream_module.so   libnginx-mod-stream
dnsmasq                                       dnsmasq-base
chromium                                      chromium
ip                                            iproute2
faketime                                      faketime
systemd-analyze                               systemd
shellcheck                                    shellcheck
openssl                                       openssl
curl                                          curl
promtool                                      prometheus
END
}

is_there() {
    case $1 in
        ensurepip) [ -x .venv/bin/python ] || "$(find_python)" -c 'import ensurepip, venv' 2>/dev/null ;;
        *.so.[0-9]) ldconfig -p | grep -q "^[[:space:]]*$1 " ;;
        /*) [ -e "$1" ] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

missing_packages() {
    needs "$1" | while read -r thing package; do
        is_there "$thing" || printf ' %s' "$package"
    done
}

find_python() {
    for python in ${PYTHON:-python3.11 python3}; do
        if "$python" -c "$PYTHON_NEEDED" 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    say "Python 3.11 or newer is needed; install it, or name it with PYTHON=/path/to/python3."
    return 1
}

# Packages of servers start them, now and at every boot; setup must not do that.
install_packages() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    say "installing Debian packages: $*"
    mkdir -p build
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update -qq &&
        apt-get install -y -qq --no-install-recommends "$@" </dev/null; } >build/setup.log 2>&1; then
        tail -n 20 build/setup.log >&2
        say "the packages could not be installed; see above, then run this again."
        return 1
    fi
    for service in haproxy nginx prometheus; do
        case " $* " in
            *" $service"*) update-rc.d "$service" disable >/dev/null 2>&1 || true ;;
        esac
    done
}

set_up_debian() {
    missing=$(missing_packages "$1")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        # shellcheck disable=SC2086  # a list of words
        install_packages $missing
        missing=$(missing_packages "$1")
        [ -n "$missing" ] || return 0
    fi
    say "not everything is installed here; run as root: apt-get install -y$missing"
    case "$1$missing" in
        *python3-venv* | *libcurl4* | lint* | analysis*) return 1 ;;
    esac
    say "going on without: what needs it is left out, and says so."
}

# The copy of the requirements in .venv says what was installed completely.
set_up_python() {
    requirements=$1
    if ! .venv/bin/python -c "$PYTHON_NEEDED" 2>/dev/null; then
        say "making the Python environment .venv"
        "$(find_python)" -m venv --clear .venv
    fi
    cmp -s "$requirements" ".venv/installed-$requirements" && return
    say "installing the Python packages of $requirements"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --no-input --require-hashes -r "$requirements"
    cp "$requirements" ".venv/installed-$requirements"
    # The packages for development are those of the demo and more, and so on.
    case $requirements in *-dev.txt | *-analysis.txt) cp requirements-demo.txt .venv/installed-requirements-demo.txt ;; esac
    case $requirements in *-analysis.txt) cp requirements-dev.txt .venv/installed-requirements-dev.txt ;; esac
}

case ${1-} in
    demo) wanted="requirements-demo.txt" ;;
    lint | test) wanted="requirements-dev.txt" ;;
    analysis) wanted="requirements-analysis.txt" ;;
    *)
        say "usage: packaging/setup.sh demo|lint|test|analysis"
        exit 2
        ;;
esac
find_python >/dev/null
# Two set-ups at once (two terminals) take turns.
if command -v flock >/dev/null; then
    exec 9<packaging/setup.sh
    flock 9
fi
set_up_debian "$1"
set_up_python "$wanted"
.venv/bin/python packaging/checkout_metadata.py
