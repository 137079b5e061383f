# What an agent's memory files hold, read as the agent. Argument: agent. What the agent has a hand in is one line, which
# begins with "own", is ASCII, and is cut off where it would be longer than it can honestly be.
agent=$1
entry=$(getent passwd "$agent") || { echo 'account none'; exit 0; }
comment=$(printf %s "$entry" | cut -d: -f5)
[ "${comment%%,*}" = "$COMMENT" ] || { echo 'account foreign'; exit 0; }
echo 'account ours'
printf 'unit %s\n' "$(systemctl show "hermes-$agent.service" -p ActiveState --value 2>/dev/null)"
uid=$(printf %s "$entry" | cut -d: -f3) gid=$(printf %s "$entry" | cut -d: -f4) home=$(printf %s "$entry" | cut -d: -f6)
timeout -k 2 20 setpriv --reuid="$uid" --regid="$gid" --clear-groups --inh-caps=-all --no-new-privs \
    env -i HOME="$home" PATH="$PATH" LC_ALL=C.UTF-8 READ="$READ" sh -c '
        cd / && ulimit -v 2097152
        p=$HOME/.hermes/code/venv/bin/python
        [ -x "$p" ] || p=python3
        exec "$p" -I -c "$READ" "$HOME"
    ' </dev/null 2>/dev/null | timeout -k 1 21 cat | head -c 8388608 | tail -n 1 | tr '\000-\010\013-\037\177-\377' '?' | sed 's/^/own /'
