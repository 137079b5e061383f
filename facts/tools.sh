# Tries an agent's tools, as its daemon would run them. Arguments: its home, its name.
home=$1
folder=$(mktemp -d) || { echo 'probe temporary fail no folder can be made'; exit 0; }
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 0
# try NAME PROGRAM COMMAND: run a shell command, which is one line of output or none.
try() {
    command -v "$2" >/dev/null || { printf 'probe %s absent %s is not installed\n' "$1" "$2"; return; }
    if said=$(timeout 30 sh -c "$3" 2>&1); then
        printf 'probe %s ok\n' "$1"
    else
        printf 'probe %s fail %s\n' "$1" "$(printf %s "$said" | tail -n 1 | cut -c1-200)"
    fi
}
try shell sh 'echo x >file && grep -q x file && rm file'
try home sh "echo x >$home/.hermes/.probe.\$\$ && rm $home/.hermes/.probe.\$\$"
try python python3 'python3 -c "import sqlite3, ssl, ctypes, multiprocessing as m; d = sqlite3.connect(\"w.db\"); d.execute(\"pragma journal_mode=wal\"); d.execute(\"create table t (x)\"); assert ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)() in (7,); p = m.Pool(2); assert sum(p.map(abs, [-1, -2])) in (3,); p.terminate()"'
try venv python3 'python3 -m venv --without-pip venv && venv/bin/python -c "import sys; sys.exit(0 if sys.prefix != sys.base_prefix else 1)" && python3 -m ensurepip --version'
try git git 'git init -q repository && cd repository && git -c user.name=p -c user.email=p@localhost commit -q --allow-empty -m probe && git log -1 --format=%s'
try node node 'node -e "new Function(\"return 1\")(); if (typeof WebAssembly === \"undefined\") process.exit(1)"'
try ripgrep rg 'echo needle >hay && rg -q needle hay'
try ffmpeg ffmpeg 'ffmpeg -hide_banner -version'
try browser-sandbox unshare 'unshare --user --map-root-user --pid --fork --mount-proc true || unshare --user --map-root-user true'
try names getent 'getent hosts localhost'
# What it must not reach.
if [ -S /run/dbus/system_bus_socket ] && [ -r /run/dbus/system_bus_socket ]; then echo 'probe system-bus open'; else echo 'probe system-bus closed'; fi
echo "probe others $(find /home -mindepth 1 -maxdepth 1 ! -path "$home" 2>/dev/null | wc -l)"
echo "probe writable $(for path in /etc /usr /opt /var/lib; do [ -w "$path" ] && printf '%s ' "$path"; done)"
