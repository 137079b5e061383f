# holder_of PORT: the process that listens there, by its number. As in agents.sh: a process may have a line end and ",pid="
# in its name, and none behind that.
holder_of() {
    ss -Hltnp "sport = :$1" | sed -n 's/^LISTEN.*,pid=\([0-9]*\),fd=[0-9]*)) *$/\1/p' | head -n 1
}
# await_start AGENT PORT SECONDS: wait until the agent's own process listens, and print one line:
#   listening PID | waiting STATE... | failed REASON...
await_start() {
    service=hermes-$1.service
    until_=$(($(date +%s) + $3))
    before=
    while :; do
        state=$(systemctl show "$service" -p ActiveState,SubState,MainPID,NRestarts,Result,ExecMainStatus,LoadState)
        get() { printf '%s\n' "$state" | sed -n "s/^$1=//p"; }
        [ "$(get LoadState)" = loaded ] || { echo "failed the unit $service does not exist"; return; }
        # A daemon that once died and was restarted is as good as any: only what happens now counts. Exit status 75,
        # by which Hermes asks for a restart, leaves the result "success".
        : "${before:=$(get NRestarts)}"
        main=$(get MainPID)
        holder=$(holder_of "$2")
        case $(get SubState)/$(get Result) in
            */success) ;;
            auto-restart*)
                [ -z "$holder" ] || { echo "failed port $2 is held by another process (pid $holder)"; return; }
                echo "failed the daemon dies right after its start ($(get Result), exit status $(get ExecMainStatus))"
                return
                ;;
        esac
        if [ "$(get NRestarts)" -gt $((before + 1)) ]; then
            echo "failed the daemon dies again and again (restarts: $(get NRestarts))"
            return
        fi
        case $(get ActiveState) in
            failed | inactive)
                echo "failed the unit is $(get ActiveState) ($(get Result), exit status $(get ExecMainStatus))"
                return
                ;;
        esac
        main=$(get MainPID)
        holder=$(holder_of "$2")
        if [ -n "$holder" ] && [ "$holder" = "$main" ]; then
            echo "listening $main"
            return
        fi
        if [ -n "$holder" ] && [ "$main" != 0 ]; then
            echo "failed port $2 is held by another process (pid $holder)"
            return
        fi
        if [ "$(date +%s)" -ge "$until_" ]; then
            echo "waiting $(get ActiveState) ($(get SubState)), nothing listens on port $2 yet"
            return
        fi
        sleep 0.1
    done
}
