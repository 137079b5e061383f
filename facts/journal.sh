# journal AGENT LINES [journalctl options]: the last lines of an agent's journal, with every value that its .env keeps
# under the name of a credential blacked out.
journal() {
    agent=$1 lines=$2
    shift 2
    journalctl --no-pager --quiet --unit "hermes-$agent.service" --lines "$lines" "$@" 2>/dev/null | redacted "$agent"
}
# last_run AGENT LINES: the same of its last start only; what was before has nothing to do with how that one went. Not by
# the start's invocation ID: of a process that ends at once journald does not come to know it.
last_run() {
    REDACT_SECONDS=20
    journalctl --sync 2>/dev/null
    journal "$1" 300 --output=cat | awk -v start="Hermes agent $1" -v most="$2" '
        /^Starting / && index($0, start) { n = 0 }
        { line[n++] = $0 }
        END { for (i = n > most ? n - most : 0; i < n; i++) print line[i] }'
}
# entries AGENT [journalctl options]: the same for a program, a line of JSON each; other lines are complaints.
entries() {
    agent=$1
    shift
    journalctl --no-pager --quiet --unit "hermes-$agent.service" --output=json \
        --output-fields=MESSAGE,PRIORITY,_PID "$@" 2>&1 | redacted "$agent" json
}
# own_log AGENT NAME [tail options]: one of the files that its daemon writes beside the journal.
own_log() {
    agent=$1 log=/home/$1/.hermes/logs/$2.log
    shift 2
    setpriv --reuid="$agent" --regid="$agent" --clear-groups --inh-caps=-all --no-new-privs \
        tail "$@" -- "$log" 2>&1 | redacted "$agent"
}
# REDACT_SECONDS, when it is set, is how long that may take: what runs as the agent, the agent may stop.
redacted() {
    if getent passwd "$1" >/dev/null && command -v python3 >/dev/null; then
        ${REDACT_SECONDS:+timeout -k 1 "$REDACT_SECONDS"} \
            setpriv --reuid="$1" --regid="$1" --clear-groups --inh-caps=-all --no-new-privs python3 -I -u -c "$REDACT" "/home/$1/.hermes/.env" $2
    else
        cat
    fi
}
