# Makes the login that clm manages a host with: its account, one more key for it, and its right to become root. Root runs
# it on the standard input of sh. What is there already stays as it is; every step is whole or not taken.
#
# Before it stand: name comment agent_comment adopt key line header
#
# Prints "changed WHAT" or "same WHAT" for account, key and sudo, or "refused WHY ...", and "end" as the last line.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 077
rules=/etc/sudoers.d
rule=$rules/pyinfra-hermes-$name
draft=

refuse() {
    printf 'refused %s\nend\n' "$*"
    exit 0
}

# The account's own part, which runs as that user: nothing that they put into their home can lead us out of it.
own_part=$(
    cat <<'OWN'
set -eu
umask 077
folder=$1/.ssh file=$1/.ssh/authorized_keys
for path in "$folder" "$file"; do
    if [ -L "$path" ]; then echo "$path is a symbolic link"; exit 3; fi
done
if [ -e "$file" ] && [ ! -f "$file" ]; then echo "$file is not a file"; exit 3; fi
[ -d "$folder" ] || mkdir "$folder"
rm -f "$folder"/.authorized_keys.??????
result=same
for path in "$folder" "$file"; do
    # sshd passes over what others may write to.
    if [ -e "$path" ] && [ -n "$(find "$path" -maxdepth 0 -perm /022)" ]; then chmod go-w "$path"; result=changed; fi
done
if [ -f "$file" ] && grep -v '^[[:space:]]*#' "$file" | grep -qF -e "$2"; then echo "$result"; exit 0; fi
new=$(mktemp "$folder/.authorized_keys.XXXXXX")
trap 'rm -f "$new"' EXIT
if [ -s "$file" ]; then
    cat "$file" >"$new"
    [ -z "$(tail -c 1 "$file")" ] || echo >>"$new"
fi
printf '%s\n' "$3" >>"$new"
sync "$new" 2>/dev/null || :
mv -f "$new" "$file"
echo changed
OWN
)

is_ours() {
    [ "$1" = "$comment" ] || { [ -f "$rule" ] && [ "$(head -n 1 "$rule")" = "$header" ]; }
}

account() {
    entry=$(getent passwd "$name") || entry=
    if [ -z "$entry" ]; then
        [ ! -e "/home/$name" ] || refuse "home /home/$name"
        # "*" is a password that nobody has. "!" would lock the account, which some sshd take for no keys either.
        useradd --system --user-group --create-home --home-dir "/home/$name" --key HOME_MODE=0700 --shell /bin/sh \
            --password '*' --comment "$comment" -- "$name" </dev/null >&2
        entry=$(getent passwd "$name")
        echo changed account
    else
        echo same account
    fi
    gecos=$(printf '%s' "$entry" | cut -d: -f5)
    home=$(printf '%s' "$entry" | cut -d: -f6)
    shell=$(printf '%s' "$entry" | cut -d: -f7)
    [ "$(printf '%s' "$entry" | cut -d: -f3)" != 0 ] || refuse root
    [ "$gecos" != "$agent_comment" ] || refuse agent
    [ "$adopt" = 1 ] || is_ours "$gecos" || refuse "foreign $gecos"
    case $shell in */nologin | */false) refuse "shell $shell" ;; esac
    if [ ! -d "$home" ]; then
        # useradd was stopped between the account and its home.
        [ "$gecos" = "$comment" ] || refuse "nohome $home"
        install -d -m 0700 -o "$name" -g "$(id -g "$name")" "$home"
    fi
}

authorize() {
    said=$(runuser -u "$name" -- sh -c "$own_part" sh "$home" "$key" "$line" </dev/null 2>&1) ||
        refuse "key $(printf '%s' "$said" | tail -n 1)"
    echo "$said key"
}

allow() {
    wanted="$header
$name ALL=(root) NOPASSWD: ALL"
    if [ -e "$rule" ] || [ -L "$rule" ]; then
        [ -f "$rule" ] && [ ! -L "$rule" ] && [ "$(head -n 1 "$rule")" = "$header" ] || refuse "rule $rule"
        if [ "$(cat "$rule")" = "$wanted" ] && [ "$(stat -c '%a %u %g' "$rule")" = '440 0 0' ]; then
            echo same sudo
            return
        fi
    fi
    # sudo passes over names with a dot: the draft means nothing until it has its name.
    draft=$(mktemp "$rules/.pyinfra-hermes.XXXXXX")
    trap 'rm -f "$draft"' EXIT
    printf '%s\n' "$wanted" >"$draft"
    chown 0:0 "$draft"
    chmod 0440 "$draft"
    said=$(visudo -cf "$draft" 2>&1) || refuse "visudo $(printf '%s' "$said" | head -n 1)"
    sync "$draft" 2>/dev/null || :
    mv -f "$draft" "$rule"
    echo changed sudo
}

main() {
    missing=
    for tool in sudo visudo useradd getent runuser install mktemp find; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
    done
    [ -z "$missing" ] || refuse "tools$missing"
    [ -d "$rules" ] || refuse "rules $rules"
    # Two control machines may come at the same moment; the lock goes with this shell.
    exec 9<"$rules"
    if command -v flock >/dev/null; then flock -w 30 9 || refuse busy; fi
    rm -f "$rules"/.pyinfra-hermes.??????
    account
    authorize
    allow
    echo end
}

main
