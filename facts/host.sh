# What a host is and has, as lines "host KEY VALUE". POSIX sh; needs no privileges.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
say() { printf 'host %s %s\n' "$1" "$2"; }
say uid "$(id -u)"
say os "$(. /etc/os-release 2>/dev/null; printf %s "${ID:-unknown}")"
say os_version "$(. /etc/os-release 2>/dev/null; printf %s "${VERSION_ID:-unknown}")"
say arch "$(uname -m)"
say uptime "$(cut -d. -f1 /proc/uptime)"
say boot_id "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
[ -d /run/systemd/system ] && say systemd "$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')"
while read -r key kib _; do
    case $key in MemTotal:) say memory_mib $((kib / 1024)) ;; esac
done </proc/meminfo
for directory in / /home /opt /etc /var /tmp; do
    say "free_mib:$directory" "$(df -Pm "$directory" 2>/dev/null | awk 'NR==2 {print $4}')"
done
for tool in rg ffmpeg python3 curl ss setpriv flock useradd userdel sha256sum base64 getent sudo git xz bash tar; do
    path=$(command -v "$tool") && say "tool:$tool" "$path"
done
if command -v python3 >/dev/null; then
    say python "$(python3 -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"
fi
