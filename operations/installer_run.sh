# Run upstream's installer, as the agent, in the unit of its installation. Arguments: the installer, the release's folder,
# Hermes' home, path of uv, and the installer's own.
script=$1 directory=$2 hermes=$3 uv=$4
shift 4
mkdir -p -- "${directory%/*}" "$hermes/bin" "$HOME/.local/bin" || exit 1
# An installation that was interrupted: upstream would update a checkout in place, or refuse a folder that is none.
rm -rf -- "$directory" || exit 1
# Without one here upstream fetches whatever uv is the newest, and runs it unchecked: up to 0.15 it looks in PATH, later
# in its own folder.
ln -sfnT -- "$uv" "$HOME/.local/bin/uv" && ln -sfnT -- "$uv" "$hermes/bin/uv" || exit 1
exec bash "$script" "$@" </dev/null
