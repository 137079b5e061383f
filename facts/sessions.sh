# What an agent's state.db tells of its conversations, read as the agent. Arguments: agent, seconds, bytes, request. Lines
# of the agent's begin with "own" and are ASCII; there are no more than so many bytes of them, whatever it has there.
agent=$1 seconds=$2 most=$3 request=$4
entry=$(getent passwd "$agent") || { echo 'account none'; exit 0; }
comment=$(printf %s "$entry" | cut -d: -f5)
[ "${comment%%,*}" = "$COMMENT" ] || { echo 'account foreign'; exit 0; }
echo 'account ours'
uid=$(printf %s "$entry" | cut -d: -f3) gid=$(printf %s "$entry" | cut -d: -f4) home=$(printf %s "$entry" | cut -d: -f6)
printf %s "$request" | timeout -k 2 "$seconds" setpriv --reuid="$uid" --regid="$gid" --clear-groups --inh-caps=-all \
    --no-new-privs env -i HOME="$home" PATH="$PATH" LC_ALL=C.UTF-8 READ="$READ" sh -c '
        cd / && ulimit -v 2097152
        p=python3
        "$p" -I -c "import sqlite3" 2>/dev/null || p=$HOME/.hermes/code/venv/bin/python
        exec "$p" -I -c "$READ"
    ' 2>/dev/null | timeout -k 1 "$((seconds + 1))" cat | head -c "$most" | tr '\000-\010\013-\037\177-\377' '?' | sed 's/^/own /'
