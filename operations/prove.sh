# After await_start, with the functions of proof.sh, snapshot.sh and receipt.sh: ask the agent itself; when it does not
# serve, go back to what worked. Arguments: agent, port, chat|no-chat, settle|hold (whether a change that is under way is
# done by this), more|last (whether it may still start).
why=
case $result in
    failed*) why="agent $1 does not serve: ${result#failed }" most=15 ;;
    waiting*)
        [ "$5" = last ] || exit 0
        why="agent $1 does not serve: ${result#waiting }" most=15
        ;;
    *) told=$(prove "$1" "$2" "$3" 2>&1) && printf '%s\n' "$told" || why=${told:-"agent $1 does not serve"} most=8 ;;
esac
if [ -n "$why" ]; then
    # The connection may be gone: then nobody reads it, and what worked is put back all the same.
    trap '' HUP PIPE
    # Some model servers repeat the key that they refuse. It is blacked out while the .env that has it is still there.
    REDACT_SECONDS=20
    why=$(printf '%s\n' "$why" | redacted "$1")
    printf '%s\n' "$why" >&2
    last_run "$1" "$most" >&2
    outcome=failed
    if [ -f "$PENDING/$1.before" ]; then
        go_back "$1" >&2 && outcome=reverted
    fi
    receipt "$1" "$outcome" "$(printf %s "$why" | head -n 1)"
    exit 1
fi
rm -f -- "$PENDING/$1.proof"
[ "$4" = hold ] || settle "$1"
receipt "$1" applied ''
