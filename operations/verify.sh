# Run a release once, in a home of its own that is thrown away. Arguments: its folder, version that it must report, account.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
export PATH LC_ALL
folder=$1 calver=$2 account=$3
probe=$(mktemp -d) && status=$(mktemp) || exit 1
trap 'rm -rf -- "$probe" "$status"' EXIT
chown "$account" "$probe"
# It may be the agent's own: it is root that ends it, and that stops reading.
run() {
    {
        timeout -k 5 120 setpriv --reuid="$account" --regid="$(id -g "$account")" --clear-groups --inh-caps=-all --no-new-privs \
            env -i HOME="$probe" HERMES_HOME="$probe/hermes" PATH="$PATH" sh -c 'umask 077; cd && exec "$@"' sh "$@" </dev/null 2>&1
        echo $? >"$status"
    } | timeout -k 5 126 head -c 65536 | tr -dc '[:print:]\n'
    [ "$(cat "$status")" = 0 ]
}
said=$(run "$folder/venv/bin/hermes" --version) || { printf 'hermes --version of the new release fails: %s\n' "$(printf '%s\n' "$said" | tail -n 3)" >&2; exit 1; }
case $(printf '%s\n' "$said" | head -n 1) in
    "Hermes Agent v"*" ($calver)"*) ;;
    *) printf "the new release says '%s', not version %s\n" "$(printf '%s\n' "$said" | head -n 1)" "$calver" >&2; exit 1 ;;
esac
said=$(run "$folder/venv/bin/python" -I -c 'import gateway.run, gateway.platforms.api_server, hermes_state, hermes_cli.main') || {
    printf 'the new release cannot be imported: %s\n' "$(printf '%s\n' "$said" | tail -n 3)" >&2
    exit 1
}
