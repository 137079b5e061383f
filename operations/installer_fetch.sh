# Fetch upstream's installer and keep it only when it is the one that is pinned. Nothing of it is run here. Arguments:
# agent, release, folder of notes, SHA256, URL, what to do when it is another; with the URL "-" the file follows below.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 077
agent=$1 release=$2 pending=$3 expected=$4 url=$5 remedy=$6
install -d -m 755 "$pending"
work=$(mktemp -d "$pending/.fetch.XXXXXXXXXX")
trap 'rm -rf -- "$work"; rmdir -- "$pending" 2>/dev/null || true' EXIT
trap 'exit 1' HUP INT TERM
# What killed runs left behind.
find "$pending" -maxdepth 1 -name '.fetch.*' -mmin +60 -exec rm -rf -- {} +
case $url in
    -) base64 -d >"$work/install.sh" <<'FILE'
@FILE@
FILE
        ;;
    *)
        case $url in https://*) schemes='=https' ;; *) schemes='=http,https' ;; esac
        # The limit of curl itself is for servers that say how much they will send; the other one is for all, in 512 bytes.
        (
            ulimit -f 8192
            exec curl -q --fail --silent --show-error --location --max-redirs 5 --proto "$schemes" --proto-redir "$schemes" \
                --connect-timeout 20 --max-time 180 --max-filesize 4194304 --retry 2 --output "$work/install.sh" --url "$url"
        ) 2>"$work/said" || {
            code=$?
            said=$(tail -n 1 "$work/said" | tr -dc '[:print:]' | cut -c1-300)
            [ "$code" -lt 128 ] || said="it is larger than 4 MiB"
            echo "the installer of $release could not be fetched from $url; nothing was executed: $said" >&2
            exit 1
        }
        ;;
esac
actual=$(sha256sum <"$work/install.sh" | cut -c1-64)
if [ "$actual" != "$expected" ]; then
    [ "$url" != - ] || url='the file that was given'
    echo "the installer of $release is not the one that is pinned; nothing was executed
  expected sha256 $expected
  actual   sha256 $actual
  from $url
$remedy" >&2
    exit 1
fi
install -d -m 711 "$pending/$agent.installer"
chmod 444 "$work/install.sh"
sync "$work/install.sh"
mv -fT -- "$work/install.sh" "$pending/$agent.installer/install.sh"
