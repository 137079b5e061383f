# What lies in an agent's home, read as the agent. Arguments: home, python of its release, and the port to ask, or 0
# when the process that holds the port is not known to be this agent's: its key is sent to nobody else; contents.py.txt;
# and the line of digests that it ended with when its answer was remembered, or nothing.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
home=$1 python=$2 port=$3 contents=$4 known=$5 hermes=$1/.hermes log=$1/.hermes/logs/agent.log line_end='
'
describe hermes "$hermes" env "$hermes/.env" config "$hermes/config.yaml" memories "$hermes/memories" \
    soul "$hermes/SOUL.md" state_db "$hermes/state.db" code "$hermes/code" credentials "$hermes/credentials" \
    auth "$hermes/auth.json" log "$log"
# A log has no end of its own, and its lines have none: one that is not known to be short is read from its end.
size=${states#*"$line_end$log|regular file|"}
if [ "$size" = "$states" ]; then size=8388609; else size=${size#*|*|*|} size=${size%%|*}; fi
digests=
for file in config.yaml .env auth.json; do
    digest=${sums%%"  $hermes/$file$line_end"*}
    if [ "$digest" != "$sums" ]; then
        digest=${digest##*"$line_end"}
    elif [ -e "$hermes/$file" ]; then
        digest=unknown
    else
        digest=-
    fi
    digests="$digests${digests:+ }$digest"
done
# What describe does for one path takes the longer, the more there are: some at a time.
set --
for file in "$hermes"/credentials/*; do
    case ${file##*/} in *[!a-z0-9._-]*) ;; *) set -- "$@" "credentials/${file##*/}" "$file" ;; esac
    [ $# -lt 32 ] || { describe "$@"; set --; }
done
for file in "$hermes"/mcp-tokens/*.json; do
    case ${file##*/} in *[!A-Za-z0-9._-]*) ;; *) set -- "$@" "mcp-tokens/${file##*/}" "$file" ;; esac
    [ $# -lt 32 ] || { describe "$@"; set --; }
done
describe "$@"

for program in "$hermes"/releases/*/venv/bin/hermes; do
    [ -x "$program" ] || continue
    program=${program%/venv/bin/hermes}
    case ${program##*/} in *[!A-Za-z0-9.-]*) ;; *) printf 'tree %s\n' "${program##*/}" ;; esac
done

# Starting Python is a third of what all of this costs.
if [ "$digests" = "$known" ]; then
    echo same
elif [ -x "$python" ]; then
    timeout 8 "$python" -I -c "$contents" "$hermes" 2>/dev/null || echo 'config_error cannot be read'
fi

key='' env_key=invalid env_port=''
if [ -f "$hermes/.env" ]; then
    while IFS= read -r line || [ -n "$line" ]; do
        value=${line#*=}
        case $line in
            API_SERVER_KEY=*[!0-9a-f]* | API_SERVER_PORT=*[!0-9]*) ;;
            API_SERVER_KEY=*) [ ${#value} != 64 ] || key=$value env_key=valid ;;
            API_SERVER_PORT=?*) [ ${#value} -gt 5 ] || env_port=$value ;;
        esac
    done 2>/dev/null <"$hermes/.env"
    printf 'env_port %s\nenv_key %s\n' "$env_port" "$env_key"
else
    port=0
fi

# "answer NAME STATUS BODY", the body on one line. The key reaches curl on its standard input. One that does not answer
# the first question is not asked the others: that would be six more seconds.
ask() { printf 'url = "http://127.0.0.1:%s%s"\nheader = "Authorization: Bearer %s"\nwrite-out = "\036%%{http_code} "\nmax-time = 3\n' "$port" "$1" "$key"; }
set -- health
[ -z "$key" ] || set -- health detailed models
[ "$port" = 0 ] || {
    printf 'silent\nfail-early\n'
    ask /health
    [ -z "$key" ] || { echo next && ask /health/detailed && echo next && ask /v1/models; }
} | curl -q -K - 2>/dev/null | tr '\r\n\036' '  \n' | {
    IFS= read -r body
    for name in "$@"; do
        IFS= read -r rest || [ -n "$rest" ] || break
        printf 'answer %s %s %s\n' "$name" "${rest%% *}" "$body"
        body=${rest#* }
    done
}

# How the last question to its model ended, by the daemon's own log: "turn answered|failed TIME REASON". Nothing of the
# text is told, but the HTTP status. What a user wrote is in that log, too, never where a line begins.
turned='^[-0-9]{10} [0-9:,]{12} [A-Z]+ (\[.[^]]*\] )*[A-Za-z_.]+: (\[.[^]]*\] )*'
turned=$turned'(API call #[0-9]+: |API call failed after [0-9]+ retries|Non-retryable client error)'
turn=
if [ ! -f "$log" ] || [ ! -s "$log" ]; then
    :
elif [ "$size" -gt 8388608 ]; then
    turn=$(tail -c 8388608 "$log" 2>/dev/null | grep -aE "$turned" | tail -n 1)
else
    # It may have grown meanwhile.
    turn=$(ulimit -v 262144 && grep -aE "$turned" "$log" 2>/dev/null | tail -n 1)
fi
[ ${#turn} -le 2000 ] || turn=$(printf '%.2000s' "$turn")
if [ -n "$turn" ]; then
    # What was answered is no trouble, whenever it was.
    at=0
    case $turn in
        *'API call #'*) word=answered reason=- ;;
        *[Cc]'onnection error'* | *'imed out'* | *'imeout'*) word=failed reason=connection ;;
        *) word=failed reason=$(printf '%s\n' "$turn" | sed -nE 's/.*(HTTP|Error code:) ([0-9]{3}).*/\2/p') ;;
    esac
    [ $word = answered ] || at=$(date -d "${turn%%,*}" +%s 2>/dev/null || echo 0)
    printf 'turn %s %s %s\n' "$word" "$at" "${reason:--}"
fi
echo whole
