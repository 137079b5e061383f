# End an installation, however it ended; systemd runs this as root when the unit of the installation stops. Only what is
# on record here, for root alone, counts as installed. What lies in the agent's home is touched with its rights only.
# Arguments: agent, release, the version that it must report, its folder, Hermes' home, folder of the installation,
# folder of the records.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 077
agent=$1 release=$2 calver=$3 directory=$4 hermes=$5 folder=$6 installed=$7 home=${5%/*}
as_agent() {
    timeout -k 5 120 setpriv --reuid="$agent" --regid="$agent" --clear-groups --inh-caps=-all --no-new-privs \
        env -i HOME="$home" HERMES_HOME="$hermes" PATH="$home/.local/bin:$PATH" LC_ALL=C.UTF-8 sh -c "cd / && umask 077 && $1" sh \
        "$directory" "$hermes" "$home/.local/bin/hermes" </dev/null
}
end() {
    printf '%s\n' "$1" >"$folder/result.part"
    sync "$folder/result.part"
    mv -fT -- "$folder/result.part" "$folder/result"
    exit 0
}
fail() {
    as_agent 'rm -rf -- "$1"' >/dev/null 2>&1
    end "failed $1"
}

rm -f -- "$folder/env"
# A copy of upstream's example is nobody's configuration. And the launcher follows the link to the active release.
as_agent '[ -L "$2/config.yaml" ] || ! cmp -s "$2/config.yaml" "$1/cli-config.yaml.example" || rm -f -- "$2/config.yaml"
    [ -L "$3" ] || ! grep -qsF "$1/venv/bin/hermes" "$3" || sed -i "s|$1/venv/bin/hermes|$2/code/venv/bin/hermes|" "$3"' 2>/dev/null
case $SERVICE_RESULT/$EXIT_CODE/$EXIT_STATUS in
    success/exited/0) ;;
    success/*) fail "it was stopped" ;;
    timeout/*) fail "it took longer than it may" ;;
    oom-kill/*) fail "it needed more memory than it may have" ;;
    exit-code/*) fail "exit code $EXIT_STATUS" ;;
    *) fail "$SERVICE_RESULT ($EXIT_CODE $EXIT_STATUS)" ;;
esac
said=$(as_agent '"$1/venv/bin/hermes" --version 2>&1' | head -n 1 | tr -dc '[:print:]' | cut -c1-200)
case $said in
    "Hermes Agent v"*" ($calver)"*) ;;
    *) fail "the installed release says '$said', not version $calver" ;;
esac
version=$(printf %s "${said#Hermes Agent v}" | cut -d' ' -f1 | tr -dc '0-9A-Za-z.+-')
python=$(as_agent '"$1/venv/bin/python" -I -S -c "import sys; print(\"%d.%d\" % sys.version_info[:2])"' 2>/dev/null | head -n 1 | tr -dc '0-9.')
# Its first choice verifies every package by its hash; what it takes when that fails does not, and may lack some.
tier=$(sed -n 's/.*Note: installed via fallback tier (\(.*\))\..*/\1/p' "$folder/log" | tail -n 1 | tr -dc '0-9A-Za-z ()._,/-' | cut -c1-80)
# What follows counts after a power cut, too; then so must all that it speaks of.
as_agent 'exec sync -f "$1"'
mkdir -p -- "$installed"
printf '{"id": "%s", "version": "%s", "calver": "%s", "python": "%s", "fallback": "%s"}\n' "$release" "$version" "$calver" "$python" "$tier" >"$installed/.part"
sync "$installed/.part"
mv -fT -- "$installed/.part" "$installed/$release"
end done
