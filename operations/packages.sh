# Install Debian packages, in a unit of their own: a connection that is lost must not leave dpkg half done. Whoever holds
# apt's locks is waited for, and never ended. Arguments: seconds to wait for the locks, the packages.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 022
command -v apt-get >/dev/null || { echo "this host has no apt-get; install by hand: $*" >&2; exit 1; }
log=$(mktemp /run/pyinfra-hermes-packages.XXXXXXXXXX)
trap 'rm -f -- "$log"' EXIT
# An index that cannot be renewed is no reason to stop: it may have what is wanted. Its lock has no timeout of apt's own.
systemd-run --quiet --wait --collect --service-type=exec --description="Packages for Hermes" \
    -p StandardInput=null -p StandardOutput=append:"$log" -p StandardError=append:"$log" \
    -E PATH="$PATH" -E LC_ALL=C -E DEBIAN_FRONTEND=noninteractive -E NEEDRESTART_MODE=a -E APT_LISTCHANGES_FRONTEND=none \
    /bin/sh -c '
        until_=$(($(date +%s) + $1))
        seconds=$1
        shift
        while apt-get -q update 2>&1 | tee /dev/stderr | grep -qE "Could not get lock|Unable to lock" && [ "$(date +%s)" -lt "$until_" ]; do
            sleep 2
        done
        exec apt-get -q -y -o DPkg::Lock::Timeout="$seconds" -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold \
            --no-install-recommends install -- "$@"' sh "$@" || {
    shift
    echo "the packages $* could not be installed:" >&2
    tr '\r' '\n' <"$log" | tr -dc '[:print:]\n' | grep -vE '^(\(Reading|Waiting for cache lock)' | tail -n 12 | cut -c1-300 >&2
    exit 1
}
