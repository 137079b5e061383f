# Finish a release of Hermes; goes behind wheels.sh. Arguments: version that it must report; and, where its wheel lacks
# something that its sources have: the archive among the wheels, its digest, and the folders that are wanted of it.
calver=$1
shift
[ $# -eq 0 ] || python3 -I - "$work/wheels" "$target" "$@" <<'PYTHON'
import hashlib, pathlib, sys, tarfile
wheels, target, name, expected, *folders = sys.argv[1:]
data = (pathlib.Path(wheels) / name).read_bytes()
digest = hashlib.sha256(data).hexdigest()
if digest != expected:
    sys.exit("%s: sha256 is %s, not %s; nothing of it was used" % (name, digest, expected))
del data
root, found = name[: -len(".tar.gz")], set()
with tarfile.open(pathlib.Path(wheels) / name) as archive:
    for member in archive:
        parts = member.name.split("/")
        if not member.isfile() or parts[0] != root or parts[1] not in folders or ".." in parts or "" in parts:
            continue
        file = pathlib.Path(target, *parts[1:])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(archive.extractfile(member).read())
        file.chmod(0o755 if member.mode & 0o100 else 0o644)
        found.add(parts[1])
if set(folders) - found:
    sys.exit("%s does not have: %s" % (name, " ".join(sorted(set(folders) - found))))
PYTHON
version=$(as_nobody hermes --version | head -n 1)
case $version in
    "Hermes Agent v"*" ($calver)"*) ;;
    *) echo "the installed release says '$version', not version $calver" >&2; exit 1 ;;
esac
number=${version#Hermes Agent v}
python=$("$target/venv/bin/python" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])')
finish "$(printf '{"id": "%s", "version": "%s", "calver": "%s", "python": "%s"}' "$id" "${number%% *}" "$calver" "$python")"
