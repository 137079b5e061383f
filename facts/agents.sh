# Everything about the Hermes agents of a host. Runs as root; what lies in an agent's home is read as that agent, so
# that nothing an agent plants there is opened with root's rights. Prints names, modes, digests and states, never a
# secret. Arguments: names to report on even when there is no trace of them.
# Lines that were made with an agent's rights start with "own": the agent could have had a hand in them, by the target
# of a link for one, so they may say nothing about anybody else. They are ASCII: what is no UTF-8 would end the reading,
# and some readers end lines where sed(1) does not.
units=/etc/systemd/system
names=$(
    {
        for name in "$@"; do printf '%s\n' "$name"; done
        getent passwd | awk -F: -v c="$COMMENT" '$5 == c || index($5, c ",") == 1 {print $1}'
        for unit in "$units"/hermes-*.service; do
            [ -f "$unit" ] && [ "$(head -n 1 "$unit")" = "$HEADER" ] || continue
            unit=${unit##*/hermes-}
            printf '%s\n' "${unit%.service}"
        done
    } | grep -Ex '[a-z][a-z0-9_-]{0,31}' | sort -u
)

# One ss(8) for all agents: "ADDRESS PORT PID" a line.
listeners=$(ss -Hltnp 2>/dev/null | awk '{
    n = split($4, part, ":"); pid = 0
    if (match($0, /pid=[0-9]+/)) pid = substr($0, RSTART + 4, RLENGTH - 4)
    print substr($4, 1, length($4) - length(part[n]) - 1), part[n], pid
}')
[ -z "$listeners" ] || printf '%s\n' "$listeners" | sed 's/^/listener /'
describe slice "$units/hermes.slice"
for release in "$RELEASES"/*/RELEASE; do
    [ -f "$release" ] && printf 'release %s\n' "$(head -n 1 "$release")"
done
for tool in "$TOOLS"/*/TOOL; do
    [ -f "$tool" ] && printf 'tool %s\n' "$(head -n 1 "$tool")"
done

for name in $names; do
    printf 'agent %s\n' "$name"
    service=hermes-$name.service
    describe unit "$units/$service"
    describe dropins "$units/$service.d"
    describe pending_restart "$PENDING/$name.restart"
    describe pending_proof "$PENDING/$name.proof"
    [ -f "$PENDING/$name.leaves" ] && printf 'set_leaves %s\n' "$(head -n 1 "$PENDING/$name.leaves")"
    [ -f "$PENDING/$name.seeds" ] && printf 'seeds %s\n' "$(head -n 1 "$PENDING/$name.seeds")"
    [ -e "/var/lib/systemd/linger/$name" ] && echo 'linger yes'
    if [ -f "$units/$service" ]; then
        # Times in UTC: those of the daemon itself are, and are compared with them.
        TZ=UTC systemctl show "$service" -p LoadState,ActiveState,SubState,UnitFileState,NRestarts,Result,ExecMainStatus \
            -p MainPID,NeedDaemonReload,MemoryCurrent,ActiveEnterTimestamp,ActiveEnterTimestampMonotonic 2>/dev/null | sed 's/^/unit /'
        main=$(systemctl show "$service" -p MainPID --value 2>/dev/null)
    else
        main=0
    fi
    entry=$(getent passwd "$name") || { [ ! -e "/home/$name" ] || describe home "/home/$name"; continue; }
    printf 'account %s\n' "$entry"
    uid=$(printf %s "$entry" | cut -d: -f3) gid=$(printf %s "$entry" | cut -d: -f4) home=$(printf %s "$entry" | cut -d: -f6)
    comment=$(printf %s "$entry" | cut -d: -f5)
    # An account that is not ours is none of our business: nothing of it is looked at.
    [ "${comment%%,*}" = "$COMMENT" ] || continue
    total=0 stray=0
    for pid in $(pgrep -U "$uid"); do
        total=$((total + 1))
        grep -qs "/$service" "/proc/$pid/cgroup" || stray=$((stray + 1))
    done
    printf 'processes %s %s\n' "$total" "$stray"
    describe home "$home"
    release=$(sed -n "s|^ExecStart=.*$RELEASES/\([^/]*\)/.*|\1|p" "$units/$service" 2>/dev/null)
    port=$(printf '%s\n' "$listeners" | awk -v pid="$main" '$3 == pid && pid > 0 {print $2; exit}')
    setpriv --reuid="$uid" --regid="$gid" --clear-groups --inh-caps=-all --no-new-privs \
        env -i HOME="$home" PATH="$PATH" LC_ALL=C CONTENTS="$CONTENTS" \
        timeout 30 sh -c "cd / && $INSIDE" sh "$home" "$RELEASES/$release/venv/bin/python" "${port:-0}" </dev/null 2>/dev/null |
        tr '\000-\010\013-\037\177-\377' '?' | sed 's/^/own /'
done
