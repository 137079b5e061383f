# A closer look into an agent's home, as the agent. Arguments: home, python of its release.
home=$1 python=$2 hermes=$1/.hermes
for part in . .hermes .hermes/memories .hermes/logs .hermes/sessions .hermes/state.db .hermes/releases .cache; do
    [ -e "$home/$part" ] || continue
    kib=$(timeout 8 du -sk "$home/$part" 2>/dev/null | cut -f1)
    printf 'size %s %s\n' "$part" "${kib:--}"
done
[ -f "$home/.ssh/authorized_keys" ] && printf 'authorized_keys %s\n' "$(grep -cv '^ *\(#\|$\)' "$home/.ssh/authorized_keys")"
for unit in "$home/.config/systemd/user"/*.service "$home/.config/systemd/user"/*.timer "$home/.config/systemd/user"/*.socket; do
    [ -e "$unit" ] && printf 'user_unit %s\n' "${unit##*/}" | head -c 200
done
user=$(id -un)
timeout 8 find "$home" \( -perm /6000 -o ! -user "$user" \) -printf '%M %u ~/%P\n' 2>/dev/null | head -n 20 | cut -c1-200 | sed 's/^/odd /'
timeout 8 find "$hermes" -perm /077 ! -type l ! -type s -path "$hermes/*" \( -name .env -o -name 'auth.json' -o -name config.yaml -o -path "$hermes/credentials/*" -o -path "$hermes/mcp-tokens/*" \) \
    -printf '%m ~/.hermes/%P\n' 2>/dev/null | head -n 20 | cut -c1-200 | sed 's/^/open /'
for file in "$hermes"/cron/jobs.json; do
    [ -f "$file" ] && [ -x "$python" ] && timeout 5 "$python" -I -c 'import json,sys
found = json.load(open(sys.argv[1]))
print("jobs", len(found.get("jobs", found) if isinstance(found, dict) else found))' "$file" 2>/dev/null
done
# A large one is not read through: it would take its time, and the agent's.
if [ -f "$hermes/state.db" ] && [ -x "$python" ] && [ "$(stat -c %s "$hermes/state.db")" -lt 104857600 ]; then
    timeout 10 "$python" -I -c 'import sqlite3, sys
try:
    database = sqlite3.connect("file:" + sys.argv[1].replace("?", "%3f").replace("#", "%23") + "?mode=ro", uri=True, timeout=3)
    print("state_db", str(database.execute("pragma quick_check(1)").fetchone()[0])[:200].replace("\n", " "))
except sqlite3.Error as error:
    print("state_db", str(error)[:200])' "$hermes/state.db" 2>/dev/null
fi
