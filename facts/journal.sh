# journal AGENT LINES [journalctl options]: the last lines of an agent's journal, with every value that its .env keeps
# under the name of a credential blacked out.
journal() {
    agent=$1 lines=$2
    shift 2
    journalctl --no-pager --quiet --unit "hermes-$agent.service" --lines "$lines" "$@" 2>/dev/null | redacted "$agent"
}
# last_run AGENT LINES: the same of its last start only; what was before has nothing to do with how that one went.
last_run() {
    run=$(systemctl show "hermes-$1.service" -p InvocationID --value)
    journalctl --no-pager --quiet --output=cat --lines "$2" "_SYSTEMD_INVOCATION_ID=$run" + "INVOCATION_ID=$run" 2>/dev/null |
        redacted "$1"
}
redacted() {
    if getent passwd "$1" >/dev/null && command -v python3 >/dev/null; then
        setpriv --reuid="$1" --regid="$1" --clear-groups --inh-caps=-all --no-new-privs \
            python3 -I -u -c "$REDACT" "/home/$1/.hermes/.env"
    else
        cat
    fi
}
