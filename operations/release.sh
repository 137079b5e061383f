# Build a release from wheels. Arguments: folder of releases, id, version that it must report, folder with wheels.tar.
# Everything is checked against the lock before it is used; RELEASE is written last and makes the release count.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 022
releases=$1 id=$2 calver=$3 staging=$4
trap 'rm -rf -- "$staging"' EXIT
mkdir -p -- "$releases"
exec 9>"$releases/.lock"
flock -w 900 9 || { echo "another installation holds $releases/.lock for more than 15 minutes" >&2; exit 1; }
target=$releases/$id
[ ! -f "$target/RELEASE" ] || exit 0

work=$(mktemp -d "$releases/.build.XXXXXXXXXX")
probe=$(mktemp -d "$releases/.build.XXXXXXXXXX")
done=
trap 'rm -rf -- "$staging" "$work" "$probe"; [ -n "$done" ] || rm -rf -- "$target"' EXIT
# What an interrupted build left behind; we hold the lock, so nobody works on it.
find "$releases" -maxdepth 1 -name '.build.*' ! -path "$work" ! -path "$probe" -exec rm -rf -- {} +
rm -rf -- "$target"

mkdir "$work/wheels"
tar -x --no-same-owner --no-same-permissions -f "$staging/wheels.tar" -C "$work/wheels"
cat >"$work/lock" <<'LOCK'
@LOCK@
LOCK

# uv comes as a wheel too. Its digest must be in the lock before the binary in it is run.
python3 -I - "$work" <<'PYTHON'
import hashlib, pathlib, re, sys, zipfile
work = pathlib.Path(sys.argv[1])
[wheel] = (work / "wheels").glob("uv-*.whl")
block = re.search(r"^uv==.*?(?=^\S|\Z)", (work / "lock").read_text(), re.M | re.S)
digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
if not block or "sha256:" + digest not in block.group():
    sys.exit("%s: sha256 %s is not in the lock; nothing was run" % (wheel.name, digest))
with zipfile.ZipFile(wheel) as archive:
    [member] = [name for name in archive.namelist() if name.endswith("/scripts/uv")]
    try:
        (work / "uv").write_bytes(archive.read(member))
    except OSError as error:
        sys.exit("%s: %s" % (work / "uv", error.strerror))
(work / "uv").chmod(0o755)
PYTHON

# uv unpacks into a temporary directory: here it lies on the disk whose room was checked, and goes with the rest.
export TMPDIR="$work"
export UV_NO_CONFIG=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_OFFLINE=1
"$work/uv" venv --quiet --python "$(command -v python3)" "$target/venv"
"$work/uv" pip install --quiet --python "$target/venv/bin/python" --no-index --find-links "$work/wheels" \
    --require-hashes --only-binary :all: --compile-bytecode -r "$work/lock"

# Run once, as nobody and in a home of its own: 0.13 writes into HERMES_HOME even for --version.
chown nobody "$probe"
version=$(cd "$probe" && setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --no-new-privs \
    env -i HOME="$probe" HERMES_HOME="$probe/hermes" PATH="$PATH" "$target/venv/bin/hermes" --version </dev/null | head -n 1)
case $version in
    "Hermes Agent v"*" ($calver)"*) ;;
    *) echo "the installed release says '$version', not version $calver" >&2; exit 1 ;;
esac
chmod -R u+rwX,go+rX,go-w "$target"
number=${version#Hermes Agent v}
python=$("$target/venv/bin/python" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])')
printf '{"id": "%s", "version": "%s", "calver": "%s", "python": "%s"}\n' "$id" "${number%% *}" "$calver" "$python" >"$target/RELEASE.part"
sync "$target/RELEASE.part"
mv -fT "$target/RELEASE.part" "$target/RELEASE"
done=yes

# Folders like ours that killed runs of the same login left: nobody has a file in one open, or waits with one.
owner=$(stat -c %u -- "$staging")
find /tmp -maxdepth 1 -type d -name 'pyinfra-hermes-????????????????????????????????' -uid "$owner" \
    \( ! -empty ! -newermt '-5 seconds' -o -mmin +60 \) ! -path "$staging" 2>/dev/null | while read -r left; do
    pgrep -f -- "$left" >/dev/null || find /proc/[0-9]*/fd -lname "$left/*" 2>/dev/null | grep -q . || rm -rf -- "$left"
done
