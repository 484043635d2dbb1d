#!/bin/bash
# The life of a Console and of a Defender under systemd; $1 is a release tarball.
set -euo pipefail
trap '[ $? = 0 ] || journalctl --no-pager -n 30' EXIT
ping() { curl -sk --max-time 1 https://10.99.0.1:8083/api/v1/_ping | grep -q OK; }
is() { # STATE UNIT
    [ "$(systemctl is-active "$2")" = "$1" ] || { echo "$2 is not $1"; exit 1; }
}
within() { # SECONDS COMMAND…
    local end=$((SECONDS + $1))
    until "${@:2}"; do
        [ $SECONDS -lt "$end" ] || { echo "not within $1 s: ${*:2}"; exit 1; }
        sleep 0.1
    done
}
another_process() { # UNIT PID
    [[ $(systemctl show -p MainPID --value "$1") != @(0|"$2") ]]
}
killed() { # UNIT
    local pid
    pid=$(systemctl show -p MainPID --value "$1")
    kill -9 "$pid"
    within 30 another_process "$1" "$pid"
}
connected() { /opt/twistlock-defender/twistlock-defender status >/dev/null; }

cd /root
tar -xzf "$1"
cd twistlock_console_*/
sed -i 's/^NODE_ADDRESS=.*/NODE_ADDRESS=10.99.0.1/; s/^DATABASE_CACHE_GB=.*/DATABASE_CACHE_GB=0.25/' twistlock.cfg

./twistlock.sh -s onebox
is active twistlock-console
is active twistlock-defender
within 30 connected
[ "$(stat -c %U "/proc/$(systemctl show -p MainPID --value twistlock-console)")" = twistlock ]
journalctl -u twistlock-console --no-pager | grep -q 'node 10.99.0.1 started'

killed twistlock-console
within 30 ping
killed twistlock-defender
within 30 connected

/opt/twistlock/twistlock.sh stop
is inactive twistlock-console
/opt/twistlock/twistlock.sh start
is active twistlock-console
within 30 ping

/opt/twistlock-defender/defender.sh -u
/opt/twistlock/twistlock.sh -su
systemctl cat twistlock-console >/dev/null 2>&1 && { echo "the unit is still there"; exit 1; }
echo "systemd: installed, killed, stopped, started and removed as it should"
