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
# note NAME: one more name to report on, when it can be one and is not noted yet.
note() {
    case $1 in '' | [!a-z]* | *[!a-z0-9_-]*) return 0 ;; esac
    case $names in *" $1 "*) return 0 ;; esac
    [ ${#1} -gt 32 ] || names="$names$1 "
}
# account NAME: set entry to its line of passwd(5), or to nothing, and the variables to the parts of it.
account() {
    entry=${accounts#*"$line_end$1:"}
    if [ "$entry" = "$accounts" ]; then entry=; else entry=$1:${entry%%"$line_end"*}; fi
    IFS=: read -r _ _ uid gid comment home _ <<ENTRY
${entry:-:::::/home/$1}
ENTRY
    # One that is not ours is none of our business: nothing of it is looked at.
    ours=no
    [ -z "$entry" ] || [ "${comment%%,*}" != "$COMMENT" ] || ours=yes
}
names=' '
for name in "$@"; do note "$name"; done
set --
# Accounts of ours are made by useradd(8), in the file; a directory of thousands need not be asked for all that it has.
accounts=$line_end$(grep -F ":$COMMENT" /etc/passwd)$line_end
while IFS=: read -r name _ _ _ comment _; do
    [ "${comment%%,*}" != "$COMMENT" ] || note "$name"
done <<ACCOUNTS
$accounts
ACCOUNTS
for unit in "$units"/hermes-*.service; do
    [ -f "$unit" ] && IFS= read -r line <"$unit" && [ "$line" = "$HEADER" ] || continue
    unit=${unit##*/hermes-}
    note "${unit%.service}"
done

# One ss(8) for all agents: "listener ADDRESS PORT PID" a line. An agent gives its processes their names, so what stands
# between quotation marks may be anything, a line end too: only after the last name there is none of it. A name has 15
# bytes: too few for the begin of a line up to a port, and for what stands behind the last name of one.
sockets=$(ss -Hltnp 2>/dev/null)
listeners=$(while read -r state received sent own _ users; do
    address=${own%:*} number=${own##*:} pid=${users##*,pid=}
    case $state/$received$sent in LISTEN/*[!0-9]* | LISTEN/) continue ;; LISTEN/*) ;; *) continue ;; esac
    case $address/$number in /* | */ | */*[!0-9]* | *\"*) continue ;; esac
    tail=${pid#*,fd=} pid=${pid%%,*}
    case $pid/${tail%'))'} in */"$tail" | /* | */ | *[!0-9]*/* | */*[!0-9]*) pid=0 ;; esac
    printf 'listener %s %s %s\n' "$address" "$number" "$pid"
done <<SOCKETS
$sockets
SOCKETS
)
[ -z "$listeners" ] || printf '%s\n' "$listeners"
# shared PID: lines of the same kind for what a process holds together with others; where it is, no name is told.
shared() {
    held=$(readlink "/proc/$1/fd/"* 2>/dev/null)
    ss -Hltne 2>/dev/null | while read -r _ _ _ own _ rest; do
        inode=${rest#*ino:} inode=${inode%% *}
        case $held in *"socket:[$inode]"*) printf 'listener %s %s %s\n' "${own%:*}" "${own##*:}" "$1" ;; esac
    done
}
for release in "$RELEASES"/*/RELEASE; do
    first release "$release"
done
for tool in "$TOOLS"/*/TOOL; do
    first tool "$tool"
done

set -- slice "$units/hermes.slice"
services=
for name in $names; do
    service=hermes-$name.service
    case $accounts in *"$line_end$name:"*) ;; *) accounts=$accounts$(getent passwd "$name")$line_end ;; esac
    account "$name"
    set -- "$@" "$name/unit" "$units/$service" "$name/dropins" "$units/$service.d" \
        "$name/pending_restart" "$PENDING/$name.restart" "$name/pending_proof" "$PENDING/$name.proof"
    [ -n "$entry" ] && [ $ours = no ] || set -- "$@" "$name/home" "$home"
    [ ! -f "$units/$service" ] || services="$services $service"
done
describe "$@"
# One systemctl(1) for all, too: a block of lines for each unit. Times in UTC: those of the daemon itself are, and are
# compared with them.
shown=
[ -z "$services" ] || shown=$(TZ=UTC systemctl show $services -p Id,LoadState,ActiveState,SubState,UnitFileState,NRestarts \
    -p Result,ExecMainStatus,MainPID,NeedDaemonReload,MemoryCurrent,MemoryHigh,MemoryMax,TasksCurrent,TasksMax,CPUUsageNSec \
    -p ActiveEnterTimestamp,ActiveEnterTimestampMonotonic,StateChangeTimestamp 2>/dev/null)
shown=$line_end$line_end$shown$line_end$line_end

# What the agents' own files say is gathered side by side: one that hangs must not hide its neighbours. Where there are
# several, each has a file in memory. All have an end: an agent must not be able to fill the memory of whoever asks.
parts=
case $names in
    *' '*' '*' '*)
        # Nobody but root writes there.
        umask 077
        parts=/run/pyinfra-hermes.$$
        folder=
        true 2>/dev/null >"$parts" || { folder=$(mktemp -d) && parts=$folder/part; } || exit 1
        trap 'rm -rf "$parts" "$parts".* $folder' EXIT
        # A shell that a signal ends does not do that by itself: whoever asked may have gone.
        trap 'exit 1' HUP INT PIPE TERM
        ;;
esac
# look: lines of what the agent's own files say. The agent may stop what runs as itself, keep it from ending, or have a
# process of its own keep the pipe open: it is root that ends this, and that stops reading. No line of ours is shorter
# than four: thousands of those that are would only fill the answer.
look() {
    timeout -k 1 10 setpriv --reuid="$uid" --regid="$gid" --clear-groups --inh-caps=-all --no-new-privs --reset-env \
        sh -c "cd / && $INSIDE" sh "$home" "$bin/python" "${port:-0}" "$CONTENTS" "$known" </dev/null 2>/dev/null |
        timeout -k 1 11 head -c "$MOST" | sed '/..../!d; s/[^\t -~]/?/g; s/^/own /'
    # An empty line after one that was not cut in the middle.
    echo
}
asked=
for name in $names; do
    printf 'agent %s\n' "$name"
    service=hermes-$name.service
    account "$name"
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
    main=0 active= bin=
    if [ -f "$units/$service" ]; then
        block=${shown%%"${line_end}Id=$service$line_end"*}
        after=${shown#"$block"}
        block=${block##*"$line_end$line_end"}$line_end${after%%"$line_end$line_end"*}
        while IFS= read -r line; do
            case $line in
                '') continue ;;
                MainPID=*) main=${line#*=} ;;
                ActiveState=*) active=${line#*=} ;;
            esac
            printf 'unit %s\n' "$line"
        done <<BLOCK
$block
BLOCK
        while IFS= read -r line; do
            case $line in
                ExecStart=*' '/*/hermes' gateway run')
                    bin=${line%/hermes gateway run} bin=${bin##* }
                    break
                    ;;
            esac
        done <"$units/$service"
    fi
    [ -n "$entry" ] || continue
    printf 'account %s\n' "$entry"
    [ $ours = yes ] || continue
    if [ "$THOROUGH" = yes ] || [ "$active" != active ]; then
        total=0 stray=0
        for pid in $(pgrep -U "$uid"); do
            total=$((total + 1))
            in_unit "$pid" || stray=$((stray + 1))
        done
        printf 'processes %s %s\n' "$total" "$stray"
    fi
    release=${bin%/venv/bin}
    [ -z "$bin" ] || printf 'runs %s\n' "${release##*/}"
    case $sockets in
        *",pid=$main,"*)
            case $listeners$line_end in
                *" $main$line_end"*) ;;
                *)
                    more=$(shared "$main")
                    [ -z "$more" ] || printf '%s\n' "$more"
                    listeners=$listeners$line_end$more
                    ;;
            esac
            ;;
    esac
    # Where 127.0.0.1 leads: the same port of another address is another one's.
    port=
    while read -r _ address number pid; do
        case $pid/$address in
            0/*) ;;
            "$main/127.0.0.1" | "$main/0.0.0.0" | "$main/*" | "$main/[::ffff:127.0.0.1]")
                port=$number
                break
                ;;
        esac
    done <<LISTENERS
$listeners
LISTENERS
    known=${KNOWN#*"$line_end$name "}
    if [ "$known" = "$KNOWN" ]; then known=; else known=${known%%"$line_end"*}; fi
    if [ -z "$parts" ]; then
        look
    else
        # The line end before it is for one that could not be written to its end.
        { printf '\nagent %s\n' "$name" && look; } >"$parts.$name" &
        asked="$asked $parts.$name"
    fi
done
if [ -n "$asked" ]; then
    wait
    cat $asked
fi
