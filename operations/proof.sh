# prove AGENT PORT chat|no-chat: ask an agent, as the agent, whether it serves; PROVE is the script that asks.
prove() {
    release=$(sed -n 's|^ExecStart=.* \(/[^ ]*\)/hermes gateway run$|\1|p' "/etc/systemd/system/hermes-$1.service")
    timeout -k 5 300 setpriv --reuid="$1" --regid="$1" --clear-groups --inh-caps=-all --no-new-privs env -i HOME="/home/$1" PATH="$PATH" LC_ALL=C.UTF-8 \
        sh -c 'cd / && exec "$@"' sh python3 -I -c "$PROVE" "$1" "$2" "$3" "$release/hermes" </dev/null
}
