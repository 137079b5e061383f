# Everything about the Hermes agents of a host. Runs as root; what lies in an agent's home is read as that agent, so
# that nothing an agent plants there is opened with root's rights. Prints names, modes, digests and states, never a
# secret. Arguments: names to report on even when there is no trace of them.
# Lines that were made with an agent's rights start with "own": the agent could have had a hand in them, by the target
# of a link for one, so they may say nothing about anybody else. They are ASCII: what is no UTF-8 would end the reading,
# and some readers end lines where sed(1) does not.
units=/etc/systemd/system
line_end='
'
# first WORD FILE: print the word and the first line of a file of root's, when there is one.
first() {
    [ -f "$2" ] || return 0
    line=
    IFS= read -r line <"$2"
    printf '%s %s\n' "$1" "$line"
}
# in_unit PID: whether it is in the agent's service; one that has ended meanwhile is in none.
in_unit() {
    while IFS= read -r line; do
        case $line in *"/$service"*) return 0 ;; esac
    done <"/proc/$1/cgroup"
    return 1
} 2>/dev/null
names=$(
    {
        for name in "$@"; do printf '%s\n' "$name"; done
        getent passwd | awk -F: -v c="$COMMENT" '$5 == c || index($5, c ",") == 1 {print $1}'
        for unit in "$units"/hermes-*.service; do
            [ -f "$unit" ] && IFS= read -r line <"$unit" && [ "$line" = "$HEADER" ] || continue
            unit=${unit##*/hermes-}
            printf '%s\n' "${unit%.service}"
        done
    } | while IFS= read -r name; do
        case $name in '' | [!a-z]* | *[!a-z0-9_-]*) ;; *) [ ${#name} -gt 32 ] || printf '%s\n' "$name" ;; esac
    done | sort -u
)

# One ss(8) for all agents: "listener ADDRESS PORT PID" a line.
listeners=$(ss -Hltnp 2>/dev/null | awk '{
    n = split($4, part, ":"); pid = 0
    if (match($0, /pid=[0-9]+/)) pid = substr($0, RSTART + 4, RLENGTH - 4)
    print "listener", substr($4, 1, length($4) - length(part[n]) - 1), part[n], pid
}')
[ -z "$listeners" ] || printf '%s\n' "$listeners"
describe slice "$units/hermes.slice"
# What the agents' own files say is gathered side by side: one that hangs must not hide its neighbours. Each has a file in
# memory, with an end: an agent must not be able to fill the memory of whoever asks.
parts=$(mktemp -d /run/pyinfra-hermes.XXXXXX 2>/dev/null || mktemp -d) || exit 1
trap 'rm -rf "$parts"' EXIT
for release in "$RELEASES"/*/RELEASE; do
    first release "$release"
done
for tool in "$TOOLS"/*/TOOL; do
    first tool "$tool"
done

for name in $names; do
    printf 'agent %s\n' "$name"
    service=hermes-$name.service
    entry=$(getent passwd "$name") || entry=
    IFS=: read -r _ _ uid gid comment home _ <<ENTRY
${entry:-:::::/home/$name}
ENTRY
    set -- unit "$units/$service" dropins "$units/$service.d" \
        pending_restart "$PENDING/$name.restart" pending_proof "$PENDING/$name.proof"
    # An account that is not ours is none of our business: nothing of it is looked at.
    [ -n "$entry" ] && [ "${comment%%,*}" != "$COMMENT" ] || set -- "$@" home "$home"
    describe "$@"
    first before "$PENDING/$name.before"
    for record in "$PENDING/$name.snapshots"/*/meta; do
        first snapshot "$record"
    done
    [ -s "$PENDING/$name.receipts" ] && printf 'receipt %s\n' "$(tail -n 1 "$PENDING/$name.receipts")"
    first set_leaves "$PENDING/$name.leaves"
    first seeds "$PENDING/$name.seeds"
    for record in "$PENDING/$name.installed"/*; do
        first installed "$record"
    done
    if [ -d "$PENDING/$name.installer" ]; then
        printf 'installer %s %s %s\n' "$(systemctl show "hermes-install-$name.service" -p ActiveState --value 2>/dev/null)" \
            "$(head -n 1 "$PENDING/$name.installer/release" 2>/dev/null)" "$(head -n 1 "$PENDING/$name.installer/result" 2>/dev/null)"
    fi
    [ -e "/var/lib/systemd/linger/$name" ] && echo 'linger yes'
    if [ -f "$units/$service" ]; then
        # Times in UTC: those of the daemon itself are, and are compared with them.
        shown=$(TZ=UTC systemctl show "$service" -p LoadState,ActiveState,SubState,UnitFileState,NRestarts,Result,ExecMainStatus \
            -p MainPID,NeedDaemonReload,MemoryCurrent,MemoryHigh,MemoryMax,TasksCurrent,TasksMax,CPUUsageNSec \
            -p ActiveEnterTimestamp,ActiveEnterTimestampMonotonic,StateChangeTimestamp 2>/dev/null)
        while IFS= read -r line; do printf 'unit %s\n' "$line"; done <<SHOWN
$shown
SHOWN
        main=${shown#*MainPID=} main=${main%%"$line_end"*}
    else
        main=0
    fi
    [ -n "$entry" ] || continue
    printf 'account %s\n' "$entry"
    [ "${comment%%,*}" = "$COMMENT" ] || continue
    total=0 stray=0
    for pid in $(pgrep -U "$uid"); do
        total=$((total + 1))
        in_unit "$pid" || stray=$((stray + 1))
    done
    printf 'processes %s %s\n' "$total" "$stray"
    bin=$(sed -n 's|^ExecStart=.* \(/[^ ]*\)/hermes gateway run$|\1|p' "$units/$service" 2>/dev/null)
    release=${bin%/venv/bin}
    [ -z "$bin" ] || printf 'runs %s\n' "${release##*/}"
    port=
    while read -r _ _ number pid; do
        [ "$pid" != "$main" ] || [ "$pid" = 0 ] || { port=$number; break; }
    done <<LISTENERS
$listeners
LISTENERS
    # The agent may stop what runs as itself, keep it from ending, or have a process of its own keep the pipe open: it is
    # root that ends this, and that stops reading.
    timeout -k 1 10 setpriv --reuid="$uid" --regid="$gid" --clear-groups --inh-caps=-all --no-new-privs \
        env -i HOME="$home" PATH="$PATH" LC_ALL=C CONTENTS="$CONTENTS" \
        sh -c "cd / && $INSIDE" sh "$home" "$bin/python" "${port:-0}" </dev/null 2>/dev/null |
        timeout -k 1 11 cat |
        tr '\000-\010\013-\037\177-\377' '?' | own "$MOST" >"$parts/$name" &
done
wait
for name in $names; do
    [ ! -s "$parts/$name" ] || { printf 'agent %s\n' "$name" && cat "$parts/$name"; }
done
