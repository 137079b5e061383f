# What a host has, for what is to be installed there: after host.sh, in lines of the same kind.
if [ -d /run/systemd/system ]; then
    version=$(systemctl --version 2>/dev/null)
    version=${version#systemd }
    say systemd "${version%%[!0-9]*}"
fi
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
