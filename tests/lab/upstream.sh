#!/bin/bash
# The tests' own installer: it takes the flags of upstream's, prints its steps and leaves its layout. Hermes in it is real,
# from the wheels of the release instead of a checkout. @BASE@, @TAG@ and @PLANTED@ are filled in by upstream.py, which
# also says what shall go wrong.
set -e
BRANCH=main HERMES_HOME=${HERMES_HOME:-$HOME/.hermes} INSTALL_DIR=${HERMES_INSTALL_DIR:-} RUN_SETUP=true NO_SKILLS=false
# What is older than a tag sorts before it.
since() { [ "$(printf '%s\n' "$1" @TAG@ | sort -V | head -n 1)" = "$1" ]; }

while [ $# -gt 0 ]; do
    case $1 in
        --skip-setup) RUN_SETUP=false ;;
        --branch) BRANCH=$2; shift ;;
        --dir) INSTALL_DIR=$2; shift ;;
        --hermes-home) HERMES_HOME=$2; shift ;;
        --skip-browser | --no-playwright) since v2026.5.28 || { echo "Unknown option: $1"; exit 1; } ;;
        --no-skills | --non-interactive)
            since v2026.6.5 || { echo "Unknown option: $1"; exit 1; }
            [ "$1" != --no-skills ] || NO_SKILLS=true
            ;;
        *) echo "Unknown option: $1"; exit 1 ;;
    esac
    shift
done
INSTALL_DIR=${INSTALL_DIR:-$HERMES_HOME/hermes-agent}

read -r fault pause < <(curl -fsS @BASE@/orders)
info() { echo -e "\033[0;36m→\033[0m $1"; sleep "$pause"; }
success() { echo -e "\033[0;32m✓\033[0m $1"; }
warn() { echo -e "\033[0;33m⚠\033[0m $1"; }
error() { echo -e "\033[0;31m✗\033[0m $1"; }

success "Detected: linux ($(. /etc/os-release && echo "$ID"))"
[ "$BRANCH" = @TAG@ ] || { error "There is no branch $BRANCH here"; exit 1; }

info "Checking for uv package manager..."
if since v2026.6.5; then UV=$HERMES_HOME/bin/uv; else UV=$(command -v uv || echo "$HOME/.local/bin/uv"); fi
if ! [ -x "$UV" ]; then
    error "Failed to download uv installer from https://astral.sh/uv/install.sh"
    exit 1
fi
success "uv found ($("$UV" --version))"
if [ "$fault" = tty ]; then
    # Whoever can be asked is asked, and waited for.
    if (: </dev/tty) 2>/dev/null; then
        warn "there is a terminal"
        read -r -p "Install ripgrep? [Y/n] " </dev/tty
    elif read -r; then
        warn "there is somebody at standard input"
    else
        warn "Non-interactive mode and no terminal available"
    fi
    if sudo id; then warn "there are more rights to be had"; else warn "sudo failed"; fi
fi

info "Installing to $INSTALL_DIR..."
if [ -d "$INSTALL_DIR/.git" ]; then
    # As from 0.18 on, for every tag but the one that is there.
    info "Existing installation found, updating..."
    echo "error: pathspec '$BRANCH' did not match any file(s) known to git" >&2
    exit 1
elif [ -d "$INSTALL_DIR" ]; then
    error "Directory exists but is not a git repository: $INSTALL_DIR"
    exit 1
fi
mkdir -p "$INSTALL_DIR/.git"
cd "$INSTALL_DIR"
for number in $(seq 280); do
    printf '# LAB_EXAMPLE_%03d=%s\n' "$number" "a line of the example, which nobody has to set to anything"
done >.env.example
printf '# An example.\nmodel:\n  default: "example/model"\n' >cli-config.yaml.example
success "Repository ready"

info "Creating virtual environment with Python 3.11..."
[ "$fault" != hang ] || sleep 3600
"$UV" venv --quiet venv --python 3.11
success "Virtual environment ready (Python 3.11)"

info "Installing dependencies..."
if [ "$fault" = exit ]; then
    for number in $(seq 200); do echo "  building wheel $number ... ANTHROPIC_API_KEY=@PLANTED@"; done
    warn "Tier 'core only (no extras)' failed. Top of pip output:"
    echo "    error: Failed to fetch with Authorization: Bearer @PLANTED@" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
curl -fsS @BASE@/wheels/@TAG@ | tar -x -C "$work"
rm -f "$work"/uv-*.whl
"$UV" pip install --quiet --offline --no-deps --python venv/bin/python "$work"/*.whl
[ "$fault" != fallback ] || warn "Note: installed via fallback tier (all minus known-broken (none))."
success "All dependencies installed"

info "Setting up hermes command..."
mkdir -p "$HOME/.local/bin"
rm -f "$HOME/.local/bin/hermes"
printf '#!/usr/bin/env bash\nunset PYTHONPATH\nunset PYTHONHOME\nexec "%s" "$@"\n' "$INSTALL_DIR/venv/bin/hermes" >"$HOME/.local/bin/hermes"
chmod +x "$HOME/.local/bin/hermes"
case :$PATH: in
    *":$HOME/.local/bin:"*) ;;
    *) echo 'export PATH="$HOME/.local/bin:$PATH"' >>"$HOME/.bashrc" ;;
esac
success "Installed hermes launcher → ~/.local/bin/hermes"

info "Setting up configuration files..."
mkdir -p "$HERMES_HOME"/{cron,sessions,logs,pairing,hooks,image_cache,audio_cache,memories,skills}
[ -f "$HERMES_HOME/.env" ] || cp .env.example "$HERMES_HOME/.env"
! since v2026.5.28 || chmod 600 "$HERMES_HOME/.env"
[ -f "$HERMES_HOME/config.yaml" ] || cp cli-config.yaml.example "$HERMES_HOME/config.yaml"
[ -f "$HERMES_HOME/SOUL.md" ] || echo "# Hermes Agent Persona" >"$HERMES_HOME/SOUL.md"
[ "$NO_SKILLS" = false ] || echo "This profile opted out." >"$HERMES_HOME/.no-bundled-skills"
success "Configuration directory ready: ~/.hermes/"
[ "$RUN_SETUP" = false ] || { error "The setup wizard wants a terminal"; exit 1; }
info "Skipping setup wizard (--skip-setup)"
echo "│              ✓ Installation Complete!                   │"
if since v2026.6.5; then echo git >"$INSTALL_DIR/.install_method"; elif since v2026.5.28; then echo git >"$HERMES_HOME/.install_method"; fi
