# Hold agents of this host against other runs, until standard input ends, or is silent for too long: that is how a run
# that was killed, or whose link was cut, lets go. Arguments: seconds to wait for another run, seconds of silence, who
# we are, what we do, the agents. Prints "held", or, with exit status 75, who holds one: "busy", the agent, since when
# and what time it is (both in seconds), who, what; one a line.
# A record is good as long as the process that wrote it lives: the same boot, the same id, the same start.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 077
wait=$1 silence=$2 by=$3 what=$4
shift 4
folder=/run/pyinfra-hermes boot=$(cat /proc/sys/kernel/random/boot_id)

# When a process started, in ticks since the boot.
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
ours="$boot $$ $(started $$)"

# One at a time looks at records and writes them. The folder goes with the last record, so it may not be the one any
# more that was there when we opened it.
alone() {
    while true; do
        mkdir -p "$folder" && exec 9<"$folder" && flock 9 || exit 1
        [ "$folder" -ef /proc/self/fd/9 ] && return
    done
}

# take AGENT...: all of them or none; leaves the one that is held in $busy.
take() {
    alone
    for busy do
        id= pid= start= since=
        { read -r id pid start since; } 2>/dev/null <"$folder/$busy.lock" || continue
        [ "$id" = "$boot" ] && [ -n "$start" ] && [ "$(started "$pid")" = "$start" ] || continue
        report=$(printf '%s\n' busy "$busy" "$since" "$(date +%s)"; sed -n 2,3p "$folder/$busy.lock")
        exec 9<&-
        return 1
    done
    for agent do
        printf '%s %s\n%s\n%s\n' "$ours" "$(date +%s)" "$by" "$what" >"$folder/$agent.lock" || exit 1
    done
    exec 9<&-
}

release() {
    alone
    for agent do
        case $(head -n 1 "$folder/$agent.lock" 2>/dev/null) in "$ours "*) rm -f "$folder/$agent.lock" ;; esac
    done
    rmdir "$folder" 2>/dev/null
}

until take "$@"; do
    [ "$wait" -gt 0 ] || { printf '%s\n' "$report"; exit 75; }
    wait=$((wait - 1))
    sleep 1
done
trap 'release "$@"' EXIT
trap 'exit 0' HUP INT TERM PIPE
echo held
while timeout "$silence" sh -c 'read -r beat'; do :; done
