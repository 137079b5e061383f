# Finish a release of Hermes; goes behind wheels.sh. Argument: version that it must report.
calver=$1
version=$(as_nobody hermes --version | head -n 1)
case $version in
    "Hermes Agent v"*" ($calver)"*) ;;
    *) echo "the installed release says '$version', not version $calver" >&2; exit 1 ;;
esac
number=${version#Hermes Agent v}
python=$("$target/venv/bin/python" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])')
finish "$(printf '{"id": "%s", "version": "%s", "calver": "%s", "python": "%s"}' "$id" "${number%% *}" "$calver" "$python")"
