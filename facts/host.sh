# What a host is and has, as lines "host KEY VALUE". POSIX sh; needs no privileges. Most of what an observation costs is
# starting programs: what the shell can do itself, it does.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
say() { printf 'host %s %s\n' "$1" "$2"; }
say uid "$(id -u)"
os=unknown os_version=unknown
if [ -r /etc/os-release ]; then
    while IFS='=' read -r key value; do
        value=${value#[\"\']} value=${value%[\"\']}
        case $key in ID) os=$value ;; VERSION_ID) os_version=$value ;; esac
    done </etc/os-release
fi
say os "$os"
say os_version "$os_version"
say arch "$(uname -m)"
read -r uptime _ 2>/dev/null </proc/uptime
say uptime "${uptime%%.*}"
read -r boot_id 2>/dev/null </proc/sys/kernel/random/boot_id && say boot_id "$boot_id"
if [ -d /run/systemd/system ]; then
    version=$(systemctl --version 2>/dev/null)
    version=${version#systemd }
    say systemd "${version%%[!0-9]*}"
fi
while read -r key kib _; do
    case $key in MemTotal:) say memory_mib $((kib / 1024)) ;; esac
done </proc/meminfo
df -m --output=avail,file / /home /opt /etc /var /tmp 2>/dev/null | while read -r free directory; do
    case $free in *[!0-9]*) ;; *) say "free_mib:$directory" "$free" ;; esac
done
# found TOOL: set path to where it is; fails when it is nowhere.
found() {
    for path in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
        path=$path/$1
        [ ! -x "$path" ] || [ -d "$path" ] || return 0
    done
    return 1
}
for tool in rg ffmpeg python3 curl ss setpriv flock useradd userdel sha256sum base64 getent sudo git xz bash tar; do
    found "$tool" && say "tool:$tool" "$path"
done
if found python3; then
    # Debian and Ubuntu: a link to python3.11, and the like.
    python=$(readlink -f -- "$path")
    case ${python##*/} in
        python3.[0-9] | python3.[0-9][0-9]) python=${python##*/python} ;;
        *) python=$(python3 -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ;;
    esac
    say python "$python"
fi
