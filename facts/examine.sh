# What a closer look at agents finds, after an observation; read-only. Runs as root; what lies in an agent's home is read
# as that agent. Arguments: names of agents. Lines as in agents.sh: "agent NAME", root's own, and "own" ones.
REDACT_SECONDS=5
say_once() { printf '%s %s\n' "$1" "$(printf %s "$2" | tr -d '\000-\037\177' | head -c 400)"; }
say_once time "$(date +%s)"
while read -r key kib _; do
    case $key in MemAvailable:) say_once available_mib $((kib / 1024)) ;; esac
done </proc/meminfo
say_once inodes "$(df -Pi /home 2>/dev/null | awk 'NR==2 {print $5}' | tr -d %)"
[ -e /run/reboot-required ] && say_once reboot_required yes
say_once system "$(systemctl is-system-running 2>/dev/null)"
say_once container "$(systemd-detect-virt --container 2>/dev/null)"
for name in "$@"; do
    printf 'agent %s\n' "$name"
    service=hermes-$name.service
    if [ -f "/etc/systemd/system/$service" ]; then
        # It asks systemd once for each directive that it knows: a quarter of a second on a slow host.
        say_once exposure "$(timeout 10 systemd-analyze security --no-pager "$service" 2>/dev/null |
            sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\) .*/\1/p')"
        group=$(systemctl show "$service" -p ControlGroup --value)
        kills=$(sed -n 's/^oom_kill //p' "/sys/fs/cgroup$group/memory.events" 2>/dev/null)
        say_once oom_kills "${kills:-0}"
        for dropin in "/etc/systemd/system/$service.d"/*.conf "/run/systemd/system/$service.d"/*.conf; do
            [ -f "$dropin" ] && say_once dropin "${dropin##*/}"
        done
    fi
    journal "$name" 200 --output=short-iso | head -c 262144 | cut -c1-1200 | readable | sed 's/^/journal /'
    entry=$(getent passwd "$name") || continue
    comment=$(printf %s "$entry" | cut -d: -f5)
    [ "${comment%%,*}" = "$COMMENT" ] || continue
    uid=$(printf %s "$entry" | cut -d: -f3) gid=$(printf %s "$entry" | cut -d: -f4) home=$(printf %s "$entry" | cut -d: -f6)
    [ -e "/var/lib/systemd/linger/$name" ] && say_once linger yes
    systemctl is-active --quiet "user@$uid.service" && say_once manager active
    # Only the number of lines: what they run is the agent's.
    [ -f "/var/spool/cron/crontabs/$name" ] && say_once crontab "$(grep -cv '^ *\(#\|$\)' "/var/spool/cron/crontabs/$name")"
    bin=$(sed -n 's|^ExecStart=.* \(/[^ ]*\)/hermes gateway run$|\1|p' "/etc/systemd/system/$service" 2>/dev/null)
    # As in agents.sh: it is root that ends this, and that stops reading.
    timeout -k 1 20 setpriv --reuid="$uid" --regid="$gid" --clear-groups --inh-caps=-all --no-new-privs \
        env -i HOME="$home" PATH="$PATH" LC_ALL=C \
        sh -c "cd / && $LOOK" sh "$home" "$bin/python" </dev/null 2>/dev/null |
        timeout -k 1 21 cat |
        tr '\000-\010\013-\037\177-\377' '?' | own 65536
done
