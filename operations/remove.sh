# Remove an agent with everything that it has. Arguments: agent, the comment of accounts that are ours, the first line
# of units that are ours, the folder of pending notes. The account goes last: while it is there, the next run knows that what it finds is ours.
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
systemctl disable --quiet --now "$service" 2>/dev/null
systemctl kill --signal=KILL "$service" 2>/dev/null
rm -rf -- "$units/$service" "$units/$service.d" "$units/multi-user.target.wants/$service" "/run/systemd/system/$service.d"
rm -f -- "$pending/$agent.restart" "$pending/$agent.proof"
rmdir -- "$pending" 2>/dev/null
# The slice goes with the last agent.
if ! grep -qsxF "$header" "$units"/hermes-*.service; then
    rm -f -- "$units/hermes.slice"
fi
systemctl daemon-reload
systemctl reset-failed "$service" 2>/dev/null
[ -f "$units/hermes.slice" ] || systemctl stop hermes.slice 2>/dev/null

[ -n "$entry" ] || exit 0

# With linger the account has a manager of its own, whose programs systemd would start again while they are killed.
loginctl disable-linger "$agent" 2>/dev/null
rm -f -- "/var/lib/systemd/linger/$agent"
loginctl terminate-user "$agent" 2>/dev/null
systemctl stop "user@$uid.service" "user-runtime-dir@$uid.service" "user-$uid.slice" 2>/dev/null
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
userdel -- "$agent" || die "userdel failed for $agent"
! getent group "$agent" >/dev/null || groupdel -- "$agent"
