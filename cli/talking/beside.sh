# AGENT, HOST, MODE (pipe or pty) and INSIDE (what runs, in base64) are set above. Run it as the agent's user, in a unit of
# its own with the sandbox, the limits and the environment of the agent's own unit.
file=/etc/systemd/system/hermes-$AGENT.service
if ! [ -f "$file" ]; then
    echo "clm: there is no agent $AGENT on $HOST: $file does not exist" >&2
    exit 125
fi
if ! getent passwd "$AGENT" >/dev/null; then
    echo "clm: there is no agent $AGENT on $HOST: it has no account" >&2
    exit 125
fi
service=
set --
while IFS= read -r line; do
    case $line in
        '[Service]') service=yes ;;
        '['*) service= ;;
        '#'* | '' | Type=* | Exec* | Restart* | *ExitStatus=* | Kill* | Timeout* | SyslogIdentifier=* | OOMPolicy=*) ;;
        WorkingDirectory=*) ;;
        *=*) [ -z "$service" ] || set -- "$@" -p "$line" ;;
    esac
done <"$file"
unit=clm-exec-$AGENT-$$.service
# Without this it would go on when the connection ends: nobody tells it.
session=$$
while [ "${session:-0}" -gt 1 ]; do
    case $(sed -n 's/^Name:[[:space:]]*//p' "/proc/$session/status") in sshd* | dropbear*) break ;; esac
    session=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$session/status")
done
watcher=
if [ "${session:-0}" -gt 1 ]; then
    setsid sh -c 'while [ -d "/proc/$1" ]; do sleep 1; done; systemctl stop "$2"' sh "$session" "$unit" \
        </dev/null >/dev/null 2>&1 &
    watcher=$!
fi
# The service manager expands variables in what it starts; $$ is a dollar to it.
systemd-run --quiet --collect --wait "--$MODE" --unit="$unit" --description="clm: beside agent $AGENT" "$@" \
    -p WorkingDirectory="/home/$AGENT" -p JoinsNamespaceOf="hermes-$AGENT.service" -p TimeoutStopSec=10 \
    -- /bin/sh -c "eval \"\$\$(echo $INSIDE | base64 -d)\""
status=$?
[ -z "$watcher" ] || kill "$watcher" 2>/dev/null
exit "$status"
