# After await_start: ask the agent itself. Arguments: agent, port, chat|no-chat.
case $result in
    failed*) echo "agent $1 does not serve: ${result#failed }" >&2; last_run "$1" 15 >&2; exit 1 ;;
    waiting*) exit 0 ;;
esac
release=$(sed -n 's|^ExecStart=.* \(/[^ ]*\)/hermes gateway run$|\1|p' "/etc/systemd/system/hermes-$1.service")
setpriv --reuid="$1" --regid="$1" --clear-groups --inh-caps=-all --no-new-privs env -i HOME="/home/$1" PATH="$PATH" LC_ALL=C.UTF-8 \
    sh -c 'cd / && exec "$@"' sh python3 -I -c "$PROVE" "$1" "$2" "$3" "$release/hermes" </dev/null || {
    status=$?
    last_run "$1" 8 >&2
    exit "$status"
}
rm -f -- "$PENDING/$1.proof"
