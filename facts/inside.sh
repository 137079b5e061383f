# What lies in an agent's home, read as the agent. Arguments: home, python of its release, and the port to ask, or 0
# when the process that holds the port is not known to be this agent's: its key is sent to nobody else.
home=$1 python=$2 port=$3 hermes=$1/.hermes
describe hermes "$hermes"
describe env "$hermes/.env"
describe config "$hermes/config.yaml"
describe memories "$hermes/memories"
describe soul "$hermes/SOUL.md"
describe code "$hermes/code"
describe credentials "$hermes/credentials"
for file in "$hermes"/credentials/*; do
    case ${file##*/} in *[!a-z0-9._-]*) ;; *) describe "credentials/${file##*/}" "$file" ;; esac
done
for file in "$hermes"/mcp-tokens/*.json; do
    case ${file##*/} in *[!A-Za-z0-9._-]*) ;; *) describe "mcp-tokens/${file##*/}" "$file" ;; esac
done

if [ -x "$python" ]; then
    timeout 10 "$python" -I -c "$CONTENTS" "$hermes" 2>/dev/null || echo 'config_error cannot be read'
fi

[ -f "$hermes/.env" ] || exit 0
key=$(sed -n 's/^API_SERVER_KEY=\([0-9a-f]\{64\}\)$/\1/p' "$hermes/.env" | tail -n 1)
printf 'env_port %s\n' "$(sed -n 's/^API_SERVER_PORT=\([0-9]\{1,5\}\)$/\1/p' "$hermes/.env" | tail -n 1)"
printf 'env_key %s\n' "$([ -n "$key" ] && echo valid || echo invalid)"
[ "$port" != 0 ] || exit 0

# ask NAME PATH: "answer NAME STATUS BODY", the body on one line. The key reaches curl on its standard input.
ask() {
    body=$(printf 'silent\nmax-time = 3\nurl = "http://127.0.0.1:%s%s"\nheader = "Authorization: Bearer %s"\nwrite-out = "\\n%%{http_code}"\n' \
        "$port" "$2" "$key" | curl -q -K - 2>/dev/null | head -c 65536 | tr '\r\n' '  ')
    printf 'answer %s %s %s\n' "$1" "${body##* }" "${body% *}"
}
ask health /health
if [ -n "$key" ]; then
    ask detailed /health/detailed
    ask models /v1/models
fi
