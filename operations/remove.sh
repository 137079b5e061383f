# Remove an agent with everything that it has. Arguments: agent, the comment of accounts that are ours, the first line
# of units that are ours, the folder of pending notes. The account goes last: while it is there, the next run knows that
# what it finds is ours.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
agent=$1 comment=$2 header=$3 pending=$4
units=/etc/systemd/system service=hermes-$1.service
die() { echo "$1" >&2; exit 1; }

entry=$(getent passwd "$agent")
if [ -n "$entry" ]; then
    found=$(printf %s "$entry" | cut -d: -f5)
    [ "${found%%,*}" = "$comment" ] || die "the account $agent was not made by pyinfra-hermes; nothing was removed"
fi
uid=$(printf %s "$entry" | cut -d: -f3)
home=$(printf %s "$entry" | cut -d: -f6)

if [ -e "$units/$service" ]; then
    [ "$(head -n 1 "$units/$service")" = "$header" ] || die "$units/$service was not made by pyinfra-hermes; nothing was removed"
fi
# An installation that is under way would go on making files; what ends it is not needed any more.
rm -f -- "$pending/$agent.installer/end.sh"
systemctl stop "hermes-install-$agent.service" 2>/dev/null
systemctl reset-failed "hermes-install-$agent.service" 2>/dev/null
# An agent that is busy may finish, for a while; one that stops itself may not hold its own removal up.
timeout 60 systemctl disable --quiet --now "$service" 2>/dev/null
systemctl kill --signal=KILL "$service" 2>/dev/null
rm -rf -- "$units/$service" "$units/$service.part" "$units/multi-user.target.wants/$service"
for folder in "$units" /run/systemd/system /etc/systemd/system.control /run/systemd/system.control; do
    rm -rf -- "$folder/$service.d"
done
rm -f -- "$pending/$agent.restart" "$pending/$agent.proof" "$pending/$agent.leaves" "$pending/$agent.leaves.part" \
    "$pending/$agent.seeds" "$pending/$agent.seeds.part" \
    "$pending/$agent.arrival" "$pending/$agent.arrival.part"
rm -f -- "$pending/$agent.before" "$pending/$agent.before.part" "$pending/$agent.receipts"
rm -rf -- "$pending/$agent.snapshots"
rm -rf -- "$pending/$agent.installer" "$pending/$agent.installed"
rmdir -- "$pending" 2>/dev/null
# The slice goes with the last agent, and what writes metrics.
if ! grep -qsxF "$header" "$units"/hermes-*.service; then
    rm -f -- "$units/hermes.slice"
    [ ! -x /opt/pyinfra-hermes/metrics.sh ] || /opt/pyinfra-hermes/metrics.sh --remove
fi
systemctl daemon-reload
systemctl reset-failed "$service" 2>/dev/null
[ -f "$units/hermes.slice" ] || systemctl stop hermes.slice 2>/dev/null

# With linger the account has a manager of its own, which would start its programs again while they are killed, and
# would wait for those that do not want to end: so it goes first, at once.
[ -z "$entry" ] || loginctl disable-linger "$agent" 2>/dev/null
rm -f -- "/var/lib/systemd/linger/$agent"
if [ -z "$entry" ]; then
    home=/home/$agent
    [ -e "$home" ] || [ -L "$home" ] || exit 0
    # Somebody removed the account and left its home, which is the agent's when it is of nobody else.
    uid=$(stat -c %u -- "$home")
    if [ -L "$home" ] || [ ! -d "$home/.hermes" ] || getent passwd "$uid" >/dev/null; then
        die "$home is there without an account, and may be somebody else's; move it away"
    fi
fi
systemctl kill --signal=KILL "user@$uid.service" 2>/dev/null
loginctl terminate-user "$uid" 2>/dev/null
systemctl stop "user@$uid.service" "user-runtime-dir@$uid.service" "user-$uid.slice" 2>/dev/null
systemctl reset-failed "user@$uid.service" 2>/dev/null
tries=0
while pkill -KILL -U "$uid" || pgrep -U "$uid" >/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || die "processes of $agent do not end: $(pgrep -U "$uid" | tr '\n' ' ')"
    sleep 0.1
done

# A later account may get this uid: nothing may be left that it would own.
find /tmp /var/tmp /dev/shm /run/lock -xdev -user "$uid" -depth -delete 2>/dev/null
rm -f -- "/var/spool/cron/crontabs/$agent" "/var/mail/$agent"
rm -rf -- "/run/user/$uid"
case $home in
    /home/"$agent") rm -rf --one-file-system -- "$home" || die "$home could not be removed" ;;
    *) die "the home of $agent is $home, not /home/$agent; the account and its home stay" ;;
esac
[ -n "$entry" ] || exit 0
userdel -- "$agent" || die "userdel failed for $agent"
! getent group "$agent" >/dev/null || groupdel -- "$agent"
