# Build an environment from wheels: the beginning of release.sh and of tool.sh. Arguments: the folder of all of them, id,
# name of the file that is written last and makes it count, folder with wheels.tar; the rest is for what follows.
# Everything is checked against the lock before it is used.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 022
folder=$1 id=$2 record=$3 staging=$4
shift 4
trap 'rm -rf -- "$staging"' EXIT
mkdir -p -- "$folder"
exec 9>"$folder/.lock"
flock -w 900 9 || { echo "another installation holds $folder/.lock for more than 15 minutes" >&2; exit 1; }
target=$folder/$id
[ ! -f "$target/$record" ] || exit 0

work=$(mktemp -d "$folder/.build.XXXXXXXXXX")
probe=$(mktemp -d "$folder/.build.XXXXXXXXXX")
done=
trap 'rm -rf -- "$staging" "$work" "$probe"; [ -n "$done" ] || rm -rf -- "$target"' EXIT
# What an interrupted build left behind; we hold the lock, so nobody works on it.
find "$folder" -maxdepth 1 -name '.build.*' ! -path "$work" ! -path "$probe" -exec rm -rf -- {} +
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
export UV_NO_CONFIG=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=hardlink UV_OFFLINE=1
"$work/uv" venv --quiet --python "$(command -v python3)" "$target/venv"
"$work/uv" pip install --quiet --python "$target/venv/bin/python" --no-index --find-links "$work/wheels" \
    --require-hashes --only-binary :all: --compile-bytecode -r "$work/lock"

# Run a program of the environment once, as nobody and in a home of its own: 0.13 writes into HERMES_HOME even for
# --version.
chown nobody "$probe"
as_nobody() {
    program=$1
    shift
    (cd "$probe" && setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --no-new-privs \
        env -i HOME="$probe" HERMES_HOME="$probe/hermes" PATH="$PATH" "$target/venv/bin/$program" "$@" </dev/null)
}

# Make the environment count, with one line about it.
finish() {
    chmod -R u+rwX,go+rX,go-w "$target"
    # The line below counts after a power cut, too; then so must all that it speaks of.
    sync -f "$target"
    printf '%s\n' "$1" >"$target/$record.part"
    sync "$target/$record.part"
    mv -fT "$target/$record.part" "$target/$record"
    done=yes

    # Folders like ours that killed runs of the same login left: nobody has a file in one open, or waits with one.
    owner=$(stat -c %u -- "$staging")
    find /tmp -maxdepth 1 -type d -name 'pyinfra-hermes-????????????????????????????????' -uid "$owner" \
        \( ! -empty ! -newermt '-5 seconds' -o -mmin +60 \) ! -path "$staging" 2>/dev/null | while read -r left; do
        pgrep -f -- "$left" >/dev/null || find /proc/[0-9]*/fd -lname "$left/*" 2>/dev/null | grep -q . || rm -rf -- "$left"
    done
}
