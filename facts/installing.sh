# await_installation AGENT OFFSET SECONDS: wait until an agent's installation has ended or the seconds are over; print
#   running | done | failed REASON | gone, each with "ELAPSED SIZE" behind the word, and then lines of its log:
# the installer's own steps since OFFSET, marked "step", and when it failed the step that was the last, marked "at", and
# the last lines, marked "log". What the agent's .env holds is blacked out in them.
await_installation() {
    REDACT_SECONDS=10 folder=$PENDING/$1.installer service=hermes-install-$1.service
    until_=$(($(date +%s) + $3))
    while :; do
        case $(systemctl show "$service" -p ActiveState --value 2>/dev/null) in
            active | activating | deactivating | reloading) word=running ;;
            *) word=ended ;;
        esac
        [ "$word" = running ] && [ "$(date +%s)" -lt "$until_" ] || break
        sleep 0.2
    done
    elapsed=$(($(date +%s) - $(stat -c %Y "$folder/release" 2>/dev/null || date +%s)))
    size=$(stat -c %s "$folder/log" 2>/dev/null || echo 0)
    result=$(head -n 1 "$folder/result" 2>/dev/null)
    case $word/$result in
        running/*) echo "running $elapsed $size" ;;
        ended/done) echo "done $elapsed $size" ;;
        ended/failed*) echo "failed $elapsed $size ${result#failed }" ;;
        *) echo "gone $elapsed $size" ;;
    esac
    [ ! -f "$folder/log" ] || tail -c "+$(($2 + 1))" "$folder/log" | head -c "$((size - $2))" | tail -c 262144 | readable | steps | redacted "$1" | sed 's/^/step /'
    case $result in
        failed*)
            tail -c 1048576 "$folder/log" | readable | grep '^→' | tail -n 1 | redacted "$1" | sed 's/^/at /'
            tail -c 65536 "$folder/log" | readable | tail -n 20 | redacted "$1" | sed 's/^/log /'
            ;;
    esac
}
# The steps that upstream's installer tells of.
steps() {
    grep -E '^(→|✓|⚠|✗)' | tail -n 12
}
