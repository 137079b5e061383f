#!/bin/sh
# Managed by pyinfra-hermes.
# How the Hermes agents of this host are, in the text format of Prometheus, for node_exporter's textfile collector.
# Argument: the collector's directory; or --remove, which takes this, its units and its file away. Needs root.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 022
units=/etc/systemd/system name=pyinfra-hermes-metrics

if [ "$1" = --remove ]; then
    directory=$(sed -n 's/^ReadWritePaths=//p' "$units/$name.service" 2>/dev/null)
    systemctl disable --quiet --now "$name.timer" 2>/dev/null
    systemctl stop "$name.service" 2>/dev/null
    [ -z "$directory" ] || rm -f -- "$directory/hermes.prom"
    rm -f -- "$units/$name.service" "$units/$name.timer" "$units/timers.target.wants/$name.timer" "$0"
    systemctl daemon-reload
    systemctl reset-failed "$name.service" 2>/dev/null
    exit 0
fi

# sample METRIC AGENT VALUE [LABELS]
sample() { printf '%s{agent="%s"%s} %s\n' "$1" "$2" "${4:-}" "$3"; }

# All that is known of one agent.
agent() {
    service=hermes-$1.service main=0 running=0 healthy=0
    for line in $(systemctl show "$service" -p ActiveState,SubState,NRestarts,MainPID,MemoryCurrent 2>/dev/null); do
        case $line in
            SubState=running) running=1 ;;
            MainPID=*) main=${line#*=} ;;
            NRestarts=*) sample hermes_agent_restarts_total "$1" "${line#*=}" ;;
            MemoryCurrent=*[!0-9]* | MemoryCurrent=18446744073709551615) ;;
            MemoryCurrent=?*) sample hermes_agent_memory_bytes "$1" "${line#*=}" ;;
        esac
    done
    sample hermes_agent_up "$1" "$running"
    # Only a port that its own process holds, on loopback, is asked.
    port=$(ss -Hltnp 2>/dev/null | sed -n "s/^LISTEN *[0-9]* *[0-9]* *127\.0\.0\.1:\([0-9]*\) .*,pid=$main,fd=[0-9]*)) *$/\1/p" | head -n 1)
    if [ "$main" != 0 ] && [ -n "$port" ]; then
        status=$(curl -q -s -o /dev/null --noproxy '*' --max-time 3 -w '%{http_code}' "http://127.0.0.1:$port/health")
        [ "$status" != 200 ] || healthy=1
    fi
    sample hermes_agent_healthy "$1" "$healthy"
    size=$(stat -c %s -- "/home/$1/.hermes/state.db" 2>/dev/null) && sample hermes_agent_state_db_bytes "$1" "$size"
    marks=$(sed -n 's/^# release \([A-Za-z0-9.-]*\), hardening \([a-z]*\)$/,release="\1",hardening="\2"/p' "$units/$service" | head -n 1)
    sample hermes_agent_info "$1" 1 "$marks"
}

# family METRIC TYPE HELP: what was collected of one metric, below its head.
family() {
    found=$(printf '%s\n' "$samples" | grep "^$1{") || return 0
    printf '# HELP %s %s\n# TYPE %s %s\n%s\n' "$1" "$3" "$1" "$2" "$found"
}

samples=$(
    for unit in "$units"/hermes-*.service; do
        [ -f "$unit" ] && [ "$(head -n 1 "$unit")" = '# Managed by pyinfra-hermes.' ] || continue
        unit=${unit##*/hermes-}
        agent "${unit%.service}"
    done
)
# The collector takes *.prom only, and never sees a part of a file.
part=$(mktemp "$1/.hermes.XXXXXXXX") || exit 1
trap 'rm -f -- "$part"' EXIT
{
    family hermes_agent_info gauge 'What the agent is, by its unit; always 1.'
    family hermes_agent_up gauge 'Whether its service runs.'
    family hermes_agent_healthy gauge 'Whether its own process says on loopback that it is healthy.'
    family hermes_agent_restarts_total counter 'How often systemd restarted it since it was started.'
    family hermes_agent_memory_bytes gauge 'Memory of its service.'
    family hermes_agent_state_db_bytes gauge 'Size of state.db, which holds its sessions.'
} >"$part" && chmod 644 "$part" && mv -fT -- "$part" "$1/hermes.prom"
