# Keep what works of an agent, and go back to it. Functions for scripts that run as root; PENDING is set. What lies in
# an agent's home is read and written as that agent, packed into an archive that root keeps and never looks into.

# as_agent AGENT SCRIPT ARGUMENTS...: run a script as an agent, in its ~/.hermes. What runs as the agent, the agent may
# stop, so it is root that ends it.
as_agent() {
    agent_=$1 script_=$2
    shift 2
    timeout -k 5 900 setpriv --reuid="$agent_" --regid="$agent_" --clear-groups --inh-caps=-all --no-new-privs \
        env -i HOME="/home/$agent_" PATH="$PATH" LC_ALL=C.UTF-8 sh -c 'umask 077; cd -P -- "$HOME/.hermes" || exit 1; '"$script_" sh "$@"
}
# tell TEXT: say something, to nobody when the connection is gone: that is no failure.
tell() { echo "$1" 2>/dev/null || true; }
# said FILE NAME: a text in a record of ours.
said() { sed -n "s/.*\"$2\": \"\([A-Za-z0-9._:-]*\)\".*/\1/p" "$1" | head -n 1; }
# What of ~/.hermes is ours.
ours='.env config.yaml code credentials auth.json mcp-tokens'
# Bytes that these may have together.
most_of_ours=67108864

# schema AGENT: the schema of its state.db, empty when there is none.
schema() {
    as_agent "$1" 'exec timeout 30 python3 -I -c "
import os, sqlite3
if os.path.isfile(\"state.db\") and not os.path.islink(\"state.db\"):
    print(sqlite3.connect(\"file:state.db?mode=rw\", uri=True).execute(\"SELECT version FROM schema_version\").fetchone()[0])"' 2>/dev/null | head -c 9 | tr -cd 0-9
}
# packed FILE LIMIT COMMAND...: what a command prints, in a file, when the command succeeds and prints no more than LIMIT.
packed() {
    into=$1 limit=$2
    shift 2
    { "$@" </dev/null; echo $? >"$into.status"; } | head -c "$((limit + 1))" >"$into.part" || return 1
    status=$(cat "$into.status") && rm -f -- "$into.status"
    [ "$status" = 0 ] && [ "$(stat -c %s "$into.part")" -le "$limit" ] || { rm -f -- "$into.part"; return 1; }
    sync -- "$into.part" && mv -fT -- "$into.part" "$into"
}
# record FOLDER SCHEMA: write what a snapshot is of, and note that there is something to go back to.
record() {
    printf '{"id": "%s", "at": "%s", "what": "%s", "release": "%s", "to": "%s", "invocation": "%s", "schema": %s, "database": %s}\n' \
        "$id" "$at" "$what" "$from" "$to" "$invocation" "${2:-null}" "$([ -s "$1/database.tar" ] && echo true || echo false)" >"$1/meta.part" &&
        sync -- "$1/meta.part" && mv -fT -- "$1/meta.part" "$1/meta"
}
note_under_way() { cp -- "$1/meta" "$note.part" && sync -- "$note.part" && mv -fT -- "$note.part" "$note"; }

# keep AGENT WHAT TO: keep what works, unless a run that was cut off did. An upgrade or a rollback stops the daemon and
# keeps its state.db, too.
keep() {
    agent=$1 what=$2 to=$3
    store=$PENDING/$agent.snapshots note=$PENDING/$agent.before unit=/etc/systemd/system/hermes-$agent.service
    # It goes on when the connection is gone.
    trap '' HUP PIPE
    umask 077
    if [ "$what" != configure ]; then
        # A daemon that is stopped on a full disk does not start again, neither the new one nor the old one.
        size=$(size_of_database) free=$(free_in "/home/$agent")
        [ "$((size / 1024 + 16384))" -le "$free" ] || { tell "there is no room for the daemon to start again: $(lacking "/home/$agent"); agent $agent was not stopped" >&2; return 1; }
    fi
    mkdir -p -m 755 -- "$PENDING" && mkdir -p -m 700 -- "$store" || return 1
    if [ -f "$note" ]; then
        id=$(said "$note" id) at=$(said "$note" at) from=$(said "$note" release) invocation=$(said "$note" invocation)
        [ "$what" = configure ] || [ "$(said "$note" what)" != configure ] || { record "$store/$id" && note_under_way "$store/$id" || return 1; }
    else
        # Of a run that was killed here before it changed anything.
        for left in "$store"/*/home.tar; do [ ! -f "$left" ] || rm -rf -- "${left%/home.tar}"; done
        at=$(date -u +%Y-%m-%dT%H:%M:%SZ) id=$(date -u +%Y%m%dT%H%M%SZ)
        while [ -e "$store/$id" ]; do id=${id}x; done
        from=$(sed -n 's|^ExecStart=.*/\([A-Za-z0-9._-]*\)/venv/bin/hermes gateway run$|\1|p' "$unit")
        invocation=
        ! systemctl is-active --quiet "hermes-$agent.service" || invocation=$(systemctl show "hermes-$agent.service" -p InvocationID --value)
        keep_files "$store/.part" && record "$store/.part" && sync -- "$store/.part"/* && mv -T -- "$store/.part" "$store/$id" && note_under_way "$store/$id" || {
            rm -rf -- "$store/.part" "${store:?}/$id" "$note.part"
            tell "what agent $agent has now cannot be kept to go back to: no room in $store, or its files cannot be read; nothing was changed" >&2
            return 1
        }
    fi
    [ "$what" = configure ] || ! wanting "$store/$id" || keep_database "$store/$id"
}
# wanting FOLDER: whether state.db is to be kept in it: it is not, or the daemon that it was kept of has run since, as
# after a power cut, and has conversations of that time. A rollback may have put another in its place by then.
wanting() {
    [ -e "$1/database.tar" ] || return 0
    [ "$what" = upgrade ] || return 1
    case $(systemctl show "hermes-$agent.service" -p ActiveState --value) in inactive | failed) return 1 ;; esac
}
# keep_files FOLDER: what is ours of an agent, but for its state.db.
keep_files() {
    rm -rf -- "$1" && mkdir -- "$1" && cp -- "$unit" "$1/unit" || return 1
    for name in leaves seeds; do
        [ ! -f "$PENDING/$agent.$name" ] || cp -p -- "$PENDING/$agent.$name" "$1/$name" || return 1
    done
    # What is renamed over while it is read makes tar fail.
    keep_home "$1" || keep_home "$1" || keep_home "$1"
}
keep_home() {
    # shellcheck disable=SC2086
    packed "$1/home.tar" "$most_of_ours" as_agent "$agent" '
        for name in "$@"; do shift; if [ -e "$name" ] || [ -L "$name" ]; then set -- "$@" "$name"; fi; done
        exec timeout 60 tar -cf - -- "$@"' $ours
}
# Bytes of state.db, and KiB that are free in a folder.
size_of_database() {
    as_agent "$agent" 'for f in state.db state.db-wal state.db-shm state.db-journal; do [ ! -f "$f" ] || stat -c %s -- "$f"; done' | tr -cd '0-9\n' | awk '{ n += $1 } END { printf "%d", n }'
}
free_in() { df -Pk -- "$1" | awk 'NR == 2 { print $4 }'; }
lacking() { echo "$((size / 1048576 + 16)) MiB are needed in $1, $((free / 1024)) MiB are free"; }
keep_database() {
    : >"$PENDING/$agent.restart"
    systemctl stop "hermes-$agent.service"
    kept=$(as_agent "$agent" 'for fd in /proc/[0-9]*/fd/*; do case $(readlink "$fd" 2>/dev/null) in "$PWD"/state.db*) echo "${fd%/fd/*}"; esac; done' | head -n 1)
    size=$(size_of_database)
    free=$(free_in "$1")
    trouble=
    if [ -n "$kept" ]; then
        trouble="process ${kept#/proc/} of agent $agent has its state.db open; end it first"
    elif [ "$((size / 1024 + 16384))" -gt "$free" ]; then
        trouble="there is no room for a copy of state.db: $(lacking "$1")"
    else
        found=$(schema "$agent")
        packed "$1/database.tar" "$((size + 1048576))" as_agent "$agent" '
            for f in state.db state.db-wal state.db-shm state.db-journal; do if [ -f "$f" ] && [ ! -L "$f" ]; then set -- "$@" "$f"; fi; done
            [ $# -eq 0 ] || exec tar -cf - -- "$@"' && record "$1" "$found" && note_under_way "$1" || trouble="state.db of agent $agent cannot be kept"
    fi
    [ -n "$trouble" ] || return 0
    tell "$trouble" >&2
    [ -z "$invocation" ] || systemctl start "hermes-$agent.service"
    # With one that was kept before, something may be changed already: then there is something to go back to.
    [ -e "$1/database.tar" ] || rm -rf -- "$note" "$1" "$PENDING/$agent.restart"
    return 1
}
# put_database AGENT FOLDER [MARK]: put the state.db of a snapshot in the place of what is there, which is kept aside,
# unless that has the same schema and is not known to be another. MARK is left where it is known.
put_database() {
    [ -e "$2/database.tar" ] || return 0
    wanted=$(sed -n 's/.*"schema": \([0-9]*\).*/\1/p' "$2/meta")
    # Who asks for it, also ends what a daemon that was killed had begun: then it is one file.
    present=$(schema "$1")
    [ -e "$2/replaced" ] || [ "$present" != "$wanted" ] || return 0
    # A part of it must never lie in its place, after a power cut for one, or on a full disk: it has the right schema.
    as_agent "$1" 'rm -rf .clm-back; mkdir .clm-back && { [ "$1" = 0 ] || tar -xf - -C .clm-back --no-same-owner; } && sync -f .clm-back || { rm -rf .clm-back; exit 1; }' \
        "$(stat -c %s "$2/database.tar")" <"$2/database.tar" || return 1
    [ -z "${3-}" ] || : >"$3"
    running=$(sed -n 's|^ExecStart=.*/\(v[0-9.]*\)-[A-Za-z0-9._-]*/venv/bin/hermes gateway run$|\1|p' "/etc/systemd/system/hermes-$1.service")
    aside=state.db.of-${running:-unknown}-$(date -u +%Y%m%dT%H%M%SZ)
    as_agent "$1" 'for end in "" -wal -shm -journal; do if [ -e "state.db$end" ] || [ -L "state.db$end" ]; then mv -fT -- "state.db$end" "$1$end" || exit 1; fi; done
        for end in -wal -shm -journal ""; do [ ! -e ".clm-back/state.db$end" ] || mv -fT -- ".clm-back/state.db$end" "state.db$end" || exit 1; done
        rm -rf .clm-back' "$aside" || return 1
    rm -f -- "$2/replaced"
    [ ! -e "/home/$1/.hermes/$aside" ] || tell "Conversations since then are kept in /home/$1/.hermes/$aside"
}
# put_home AGENT FILE NAMES...: put what is packed in a file in the place of what the names mean now.
put_home() {
    who=$1 from=$2
    shift 2
    if as_agent "$who" 'exec tar -df -' <"$from" >/dev/null 2>&1; then
        # Nothing of it was changed; there may be more than there was.
        as_agent "$who" 'kept=$(tar -tf -) || exit 1
            for name in "$@"; do printf "%s\n" "$kept" | grep -qxF -e "$name" -e "$name/" || rm -rf -- "$name"; done' "$@" <"$from"
        return
    fi
    as_agent "$who" 'rm -rf .clm-back; mkdir .clm-back && tar -xf - -C .clm-back --no-same-owner 2>/dev/null || { rm -rf .clm-back; exit 1; }
        for name in "$@"; do
            if [ -e ".clm-back/$name" ] || [ -L ".clm-back/$name" ]; then
                [ -L "$name" ] || [ ! -d "$name" ] || mv -T -- "$name" ".clm-back/.old-$name" || exit 1
                mv -fT -- ".clm-back/$name" "$name" || exit 1
            else
                rm -rf -- "$name"
            fi
        done
        rm -rf .clm-back' "$@" <"$from" ||
        # On a full disk there is only the room of what is there.
        as_agent "$who" 'exec tar -xf - --no-same-owner --recursive-unlink --unlink-first' <"$from"
}
# go_back AGENT: put back what worked, and prove it. Can be cut off and repeated.
go_back() {
    note=$PENDING/$1.before unit=/etc/systemd/system/hermes-$1.service service=hermes-$1.service
    # A run that lost its connection may be at it.
    exec 8>"/run/pyinfra-hermes-$1.back"
    if ! flock -n 8; then
        flock -w 300 8
        [ -f "$note" ] || { tell "Agent $1 serves on what it had."; return 0; }
    fi
    id=$(said "$note" id 2>/dev/null)
    folder=$PENDING/$1.snapshots/$id
    [ -n "$id" ] && [ -f "$folder/home.tar" ] || { tell "what agent $1 had before is not on the host any more"; return 1; }
    trap '' HUP INT TERM PIPE
    invocation=$(said "$folder/meta" invocation)
    same=no
    ! systemctl is-active --quiet "$service" || [ "$(systemctl show "$service" -p InvocationID --value)" != "$invocation" ] || same=yes
    : >"$PENDING/$1.restart"
    [ "$same" = yes ] || systemctl stop "$service"
    put_database "$1" "$folder" || { tell "the state.db of before could not be put back: see whether there is room in /home/$1"; return 1; }
    # Tokens are renewed by the daemon: unless we put others there, those that it has are the good ones.
    names=$ours
    ! cmp -s "$folder/seeds" "$PENDING/$1.seeds" && { [ -e "$folder/seeds" ] || [ -e "$PENDING/$1.seeds" ]; } || names=${ours% mcp-tokens}
    # shellcheck disable=SC2086
    put_home "$1" "$folder/home.tar" $names || { tell "the files of before could not be put back: see whether there is room in /home/$1"; return 1; }
    # A power cut must not find the note gone, and these not written.
    as_agent "$1" 'exec sync -f .'
    cmp -s "$folder/unit" "$unit" || { cp -- "$folder/unit" "$unit.part" && chmod 644 "$unit.part" && sync -- "$unit.part" && mv -fT -- "$unit.part" "$unit"; } || return 1
    for name in leaves seeds; do
        if [ -f "$folder/$name" ]; then
            cp -p -- "$folder/$name" "$PENDING/$1.$name.part" && mv -fT -- "$PENDING/$1.$name.part" "$PENDING/$1.$name" || return 1
        else
            rm -f -- "$PENDING/$1.$name"
        fi
    done
    systemctl daemon-reload
    if [ -z "$invocation" ]; then
        rm -rf -- "$note" "$folder" "$PENDING/$1.restart" "$PENDING/$1.proof"
        tell "Agent $1 has what it had, and is stopped as it was."
        return 0
    fi
    if [ "$same" = no ]; then
        : >"$PENDING/$1.proof"
        systemctl reset-failed "$service" 2>/dev/null
        systemctl restart "$service"
    fi
    port=$(as_agent "$1" 'sed -n "s/^API_SERVER_PORT=\([0-9]\{1,5\}\)$/\1/p" .env | tail -n 1')
    tries=0
    while [ "$tries" -lt 30 ]; do
        began=$(await_start "$1" "${port:-0}" 6)
        case $began in waiting*) tries=$((tries + 1)) ;; *) break ;; esac
    done
    case $began in
        listening*) trouble=$(prove "$1" "$port" no-chat 2>&1 >/dev/null) && trouble= ;;
        *) trouble="agent $1 does not serve: ${began#* }" ;;
    esac
    if [ -n "$trouble" ]; then
        tell "What agent $1 had before was put back, and it does not serve on that either: $trouble"
        return 1
    fi
    rm -rf -- "$note" "$folder" "$PENDING/$1.restart" "$PENDING/$1.proof"
    rmdir -- "$PENDING/$1.snapshots" 2>/dev/null
    tell "Agent $1 serves on what it had."
    return 0
}
# settle AGENT: what is under way is done. Of a change of releases the state.db of before stays, of the last three.
settle() {
    [ -f "$PENDING/$1.before" ] || return 0
    folder=$PENDING/$1.snapshots/$(said "$PENDING/$1.before" id)
    case $(said "$PENDING/$1.before" what) in
        configure)
            rm -rf -- "$PENDING/$1.before" "$folder"
            rmdir -- "$PENDING/$1.snapshots" 2>/dev/null
            ;;
        *)
            rm -f -- "$PENDING/$1.before" "$folder/home.tar" "$folder/seeds" "$folder/leaves" "$folder/unit" "$folder/replaced"
            # shellcheck disable=SC2012
            ls -1 "$PENDING/$1.snapshots" | sort -r | tail -n +4 | while read -r old; do rm -rf -- "$PENDING/$1.snapshots/$old"; done
            ;;
    esac
    return 0
}
