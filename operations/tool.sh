# Finish a tool; goes behind wheels.sh. Arguments: programs that it must have.
for each in "$@"; do
    as_nobody "$each" --version >/dev/null || { echo "the installed $each cannot be run" >&2; exit 1; }
done
finish "$id"
