# Remove releases that nobody needs. Arguments: their folder, the folder of our notes, then for each "ID" of one that all
# agents share, or "AGENT/ID". One that an agent's unit starts stays, whatever was asked for.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
releases=$1 pending=$2
shift 2
exec 9>"$releases/.lock" || exit 1
flock -w 60 9 || { echo "an installation holds $releases/.lock" >&2; exit 1; }
# What builds and removals that were killed left behind; we hold the lock, so nobody works on it.
for left in "$releases"/*/ "$releases"/.build.*/; do
    left=${left%/}
    [ -d "$left" ] && [ ! -f "$left/RELEASE" ] || continue
    grep -qsF "/${left##*/}/venv/bin/hermes" /etc/systemd/system/hermes-*.service || rm -rf --one-file-system -- "$left"
done
ended=0
for each in "$@"; do
    id=${each##*/} agent=
    [ "$each" = "$id" ] || agent=${each%/*}
    if { [ -n "$agent" ] && grep -qsF "/$id/venv/bin/hermes" "/etc/systemd/system/hermes-$agent.service"; } ||
        { [ -z "$agent" ] && grep -qsF "/$id/venv/bin/hermes" /etc/systemd/system/hermes-*.service; }; then
        echo "$each is in use, and stays" >&2
        ended=1
    elif [ -z "$agent" ]; then
        # Incomplete from here on, should this be cut off.
        rm -f -- "$releases/$id/RELEASE" && rm -rf --one-file-system -- "${releases:?}/$id" || ended=1
    else
        rm -f -- "$pending/$agent.installed/$id"
        timeout -k 5 300 setpriv --reuid="$agent" --regid="$agent" --clear-groups --inh-caps=-all --no-new-privs \
            sh -c 'cd -- "$1" && exec rm -rf --one-file-system -- "./$2"' sh "/home/$agent/.hermes/releases" "$id" || ended=1
    fi
done
exit "$ended"
