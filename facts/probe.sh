# probe_sandbox AGENT HOME: which of an agent's tools work under the hardening of its unit, tried in a transient unit with
# the same properties; lines "probe NAME ok|fail|absent DETAIL". What is written goes to /tmp, which is the unit's own.
probe_sandbox() {
    set -- "$1" "$2" --quiet --pipe --wait --collect --service-type=exec -p RuntimeMaxSec=60 -p KillMode=control-group
    while IFS= read -r line; do
        case $line in
            User=* | Group=* | Slice=* | Environment=* | UMask=* | Memory*=* | Tasks*=* | OOMPolicy=*) ;;
            NoNew*=* | Protect*=* | Private*=* | Bind*=* | Lock*=* | Restrict*=* | Remove*=* | Keyring*=* | Capability*=*) ;;
            Ambient*=* | SystemCall*=* | Inaccessible*=* | Device*=* | ReadOnly*=* | ReadWrite*=* | Temporary*=* | IPAddress*=*) ;;
            *) continue ;;
        esac
        set -- "$@" -p "$line"
    done <<UNIT
$(systemctl cat "hermes-$1.service" 2>/dev/null | grep -v '^#')
UNIT
    name=$1 home=$2
    shift 2
    timeout 90 systemd-run "$@" sh -c "$TOOLS" sh "$home" "$name" </dev/null 2>/dev/null |
        tr '\000-\010\013-\037\177-\377' '?' | own 65536
}
