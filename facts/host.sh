# What a host is, as lines "host KEY VALUE". POSIX sh; needs no privileges. Most of what an observation costs is starting
# programs: what the shell can do itself, it does.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
say() { printf 'host %s %s\n' "$1" "$2"; }
while read -r key _ uid _; do
    case $key in Uid:) break ;; esac
done </proc/self/status
say uid "$uid"
os=unknown os_version=unknown
if [ -r /etc/os-release ]; then
    while IFS='=' read -r key value; do
        value=${value#[\"\']} value=${value%[\"\']}
        case $key in ID) os=$value ;; VERSION_ID) os_version=$value ;; esac
    done </etc/os-release
fi
say os "$os"
say os_version "$os_version"
# Linux has had the file since 6.1.
read -r arch 2>/dev/null </proc/sys/kernel/arch || arch=$(uname -m)
say arch "$arch"
read -r uptime _ 2>/dev/null </proc/uptime
say uptime "${uptime%%.*}"
read -r boot_id 2>/dev/null </proc/sys/kernel/random/boot_id && say boot_id "$boot_id"
while read -r key kib _; do
    case $key in MemTotal:) break ;; esac
done </proc/meminfo
say memory_mib $((kib / 1024))
