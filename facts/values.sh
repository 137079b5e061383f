# Values of an agent's files, read as the agent, and the text of its unit. Arguments: agent, its home, the interpreter
# of its release, what is asked for, paths of units. Lines that were made with the agent's rights start with "own", and
# are ASCII: see agents.sh.
agent=$1 home=$2 python=$3 asked=$4
shift 4
for unit in "$@"; do
    printf 'unit %s\n' "$unit"
    sed 's/^/line /' "$unit" 2>/dev/null
done
[ -x "$python" ] || exit 0
timeout -k 1 15 setpriv --reuid="$agent" --regid="$agent" --clear-groups --inh-caps=-all --no-new-privs \
    env -i HOME="$home" PATH="$PATH" LC_ALL=C.UTF-8 \
    "$python" -I -c "$VALUES" "$home/.hermes" "$asked" </dev/null 2>/dev/null |
    timeout -k 1 16 cat |
    tr '\000-\010\013-\037\177-\377' '?' | sed 's/^/own /'
