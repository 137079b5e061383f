# Start upstream's installer for an agent in a unit of its own, which nobody has to wait for; when it runs for this very
# release already, that is as good. Arguments: agent, release, the version that it must report, its folder, Hermes' home,
# folder of notes, SHA256 of the installer, URL of the repository, seconds, memory, tasks, path of uv; the rest is the
# installer's.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 077
agent=$1 release=$2 calver=$3 directory=$4 hermes=$5 pending=$6 expected=$7 repository=$8 seconds=$9
shift 9
memory=$1 tasks=$2 uv=$3
shift 3
folder=$pending/$agent.installer home=${hermes%/*} service=hermes-install-$agent.service
die() { echo "$1" >&2; exit 1; }

exec 9<"$folder"
flock -w 60 9 || die "another run starts an installation for agent $agent"
case $(systemctl show "$service" -p ActiveState --value) in
    active | activating | deactivating | reloading)
        under_way=$(head -n 1 "$folder/release")
        [ "$under_way" != "$release" ] || exit 0
        die "agent $agent gets $under_way at this moment. Wait until that is done, or end it on the host: systemctl stop $service"
        ;;
esac
if grep -qs "$directory/" "/etc/systemd/system/hermes-$agent.service" && systemctl is-active --quiet "hermes-$agent.service"; then
    die "agent $agent runs $release, which is not complete; nothing was changed. Stop the agent first"
fi
systemctl reset-failed "$service" 2>/dev/null || true

rm -f -- "$folder/result" "$pending/$agent.installed/$release"
[ "$(sha256sum <"$folder/install.sh" | cut -c1-64)" = "$expected" ] || die "$folder/install.sh is not the installer that is pinned"
cat >"$folder/run.sh" <<'RUN'
@RUN@
RUN
cat >"$folder/end.sh" <<'END'
@END@
END
cat >"$folder/enter.py" <<'ENTER'
@ENTER@
ENTER
chmod 444 "$folder/run.sh" "$folder/end.sh" "$folder/enter.py"
# Of Git's own configuration only this: upstream's script has the address of its repository built in, and would ask for
# it by SSH first.
cat >"$folder/gitconfig" <<GIT
[url "$repository"]
	insteadOf = git@github.com:NousResearch/hermes-agent.git
	insteadOf = https://github.com/NousResearch/hermes-agent.git
GIT
case $repository in
    file://*) printf '[safe]\n\tdirectory = %s\n' "${repository#file://}" "${repository#file://}/.git" >>"$folder/gitconfig" ;;
esac
chmod 444 "$folder/gitconfig"
# In the place of the agent's .env, for as long as the installer and all that it fetches run: they see no credential, and
# what they write there is nobody's.
: >"$folder/env"
chmod 600 "$folder/env"
chown "$agent:$agent" "$folder/env"
: >"$folder/log"
chmod 600 "$folder/log"
printf '%s\n' "$release" >"$folder/release"

systemd-run --quiet --collect --unit="$service" --description="Installation of Hermes $release for agent $agent" \
    --service-type=exec --slice=hermes.slice \
    -p WorkingDirectory="$home" -p UMask=0077 \
    -p StandardInput=null -p StandardOutput=append:"$folder/log" -p StandardError=append:"$folder/log" \
    -p RuntimeMaxSec="$seconds" -p TimeoutStopSec=300 -p MemoryMax="$memory" -p TasksMax="$tasks" \
    -p NoNewPrivileges=yes -p PrivateTmp=yes -p ProtectSystem=full -p PrivateMounts=yes \
    -p ExecStopPost="+/bin/sh $folder/end.sh $agent $release $calver $directory $hermes $folder $pending/$agent.installed" \
    -E HOME="$home" -E HERMES_HOME="$hermes" -E USER="$agent" -E LOGNAME="$agent" -E SHELL=/bin/bash -E LC_ALL=C.UTF-8 -E CI=1 -E NO_COLOR=1 -E TERM=dumb \
    -E PATH="$home/.local/bin:/usr/local/bin:/usr/bin:/bin" -E DEBIAN_FRONTEND=noninteractive \
    -E GIT_CONFIG_GLOBAL="$folder/gitconfig" -E GIT_CONFIG_NOSYSTEM=1 -E GIT_TERMINAL_PROMPT=0 -E UV_COMPILE_BYTECODE=1 \
    /usr/bin/python3 -I "$folder/enter.py" "$agent" "$folder/env" "$hermes" /bin/bash "$folder/run.sh" "$folder/install.sh" "$directory" "$hermes" "$uv" "$@" || {
    rm -f -- "$folder/release"
    exit 1
}
