"""The lab by hand: `scripts/lab`."""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.lab import hand
from tests.lab.cache import cache_directory
from tests.lab.image import ImageNotBuilt, image
from tests.lab.run import LeftBehind, Run, reap, runs
from tests.lab.tools import LabUnavailable, require


def main() -> int:
    """Do what the command line asks; 2 when the lab cannot run here, 1 when it went wrong."""
    # `scripts/lab ps | head` is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    arguments = _parser().parse_args()
    try:
        require()
        code: int = arguments.run(arguments)
        return code
    except LabUnavailable as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except (hand.NotSo, ImageNotBuilt, LeftBehind) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _up(arguments: argparse.Namespace) -> int:
    run, trouble = hand.up(arguments.hosts, tools=not arguments.bare, keep=arguments.keep)
    _show(run)
    if trouble:
        print(f"\nlab: kept although not all is well: {trouble}", file=sys.stderr)
    print(f"\nssh, from anywhere:  ssh -F {run.directory}/ssh_config HOST     (users: root, admin, nosudo)")
    print(f"or:                  scripts/lab ssh {hand.described(run)['hosts'][0]['name']}")
    print(f'for scripts:         eval "$(scripts/lab env {run.id})"')
    print(f"requests to the stand-in model: {run.directory}/{hand.MODEL_LOG}")
    print(f"take it away:        scripts/lab down {run.id}")
    return 1 if trouble else 0


def _ps(arguments: argparse.Namespace) -> int:
    everything = runs()
    for run in everything:
        _show(run)
    if not everything:
        print("no lab is up; start one with: scripts/lab up")
    return 0


def _env(arguments: argparse.Namespace) -> int:
    run = hand.find(arguments.lab)
    about = hand.described(run)
    values = {
        "LAB_ID": run.id,
        "LAB_KEY": f"{run.directory}/id_ed25519",
        "LAB_KNOWN_HOSTS": f"{run.directory}/known_hosts",
        "LAB_SSH_CONFIG": f"{run.directory}/ssh_config",
        "LAB_HOSTS": " ".join(host["name"] for host in about["hosts"]),
        "LAB_ADDRESSES": " ".join(host["address"] for host in about["hosts"]),
        "LAB_MODEL_URL": about["models"][0] if about["models"] else "",
        "LAB_MODEL_LOG": f"{run.directory}/{hand.MODEL_LOG}",
    }
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _ssh(arguments: argparse.Namespace) -> int:
    run, host = hand.find_host(arguments.host)
    # -t gives a shell a terminal; a command gets the plain streams, so that it can be piped.
    terminal = [] if arguments.command else ["-t"]
    login = ["ssh", "-F", f"{run.directory}/ssh_config", *terminal, "-l", arguments.user, host]
    return subprocess.run([*login, *arguments.command], check=False).returncode


def _down(arguments: argparse.Namespace) -> int:
    run = hand.find(arguments.lab)
    hand.down(run)
    print(f"lab {run.id} is gone")
    return 0


def _reap(arguments: argparse.Namespace) -> int:
    gone = reap()
    print(f"taken away: {', '.join(gone)}" if gone else "nothing to take away: every lab has a living owner")
    return 0


def _cache(arguments: argparse.Namespace) -> int:
    root = cache_directory()
    if arguments.prune:
        if runs():
            raise hand.NotSo("a lab is up and may need what would be removed; see: scripts/lab ps")
        for name in ("images", "wheels", "disks"):
            shutil.rmtree(root / name, ignore_errors=True)
    print(f"{root}")
    for entry in sorted(root.glob("*/*")):
        if entry.is_dir():
            print(f"  {_megabytes(entry):6d} MB  {entry.relative_to(root)}")
    return 0


def _build(arguments: argparse.Namespace) -> int:
    built = image()
    print(f"{built.base}\n{built.tools}")
    return 0


def _show(run: Run) -> None:
    about = hand.described(run)
    owner = "kept by hand" if run.by_hand else run.owner.command
    state = f"process {run.owner.pid}" + ("" if run.owner.alive else ", dead: scripts/lab reap")
    print(f"lab {run.id}  {owner} ({state})")
    for host in about["hosts"]:
        up = "up" if hand.running(run, host["name"]) else "off"
        print(f"  {host['name']:14} {host['address']:14} {up}")
    for url in about["models"]:
        print(f"  {'model':14} {url}  (a stand-in)")
    print(f"  {'key':14} {run.directory}/id_ed25519")


def _megabytes(directory: Path) -> int:
    blocks = (os.lstat(f"{path}/{name}").st_blocks for path, _, names in os.walk(directory) for name in names)
    return sum(blocks) * 512 // 1_000_000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/lab",
        description="Throwaway systemd hosts on this machine, to try things on. Needs root.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="boot hosts and a stand-in model server, in the background")
    up.add_argument("hosts", nargs="?", type=int, default=1, metavar="N", help="how many hosts (default: 1)")
    up.add_argument("--bare", action="store_true", help="hosts without ripgrep and ffmpeg")
    up.add_argument("--keep", action="store_true", help="leave the lab up for a look when hosts fail to boot")
    up.set_defaults(run=_up)

    ps = commands.add_parser("ps", help="show the labs that are up, and their hosts")
    ps.set_defaults(run=_ps)

    env = commands.add_parser("env", help="print a lab's addresses and files as shell variables")
    env.add_argument("lab", nargs="?", metavar="ID", help="which lab (default: the only one kept by hand)")
    env.set_defaults(run=_env)

    ssh = commands.add_parser("ssh", help="log in to a host, or run a command there")
    ssh.add_argument("-l", "--user", default="root", choices=["root", "admin", "nosudo"], help="default: root")
    ssh.add_argument("host", help="its name, or only host1 when one lab kept by hand has it")
    ssh.add_argument("command", nargs=argparse.REMAINDER, help="a command instead of a shell")
    ssh.set_defaults(run=_ssh)

    down = commands.add_parser("down", help="end a lab that was started with up")
    down.add_argument("lab", nargs="?", metavar="ID", help="which lab (default: the only one kept by hand)")
    down.set_defaults(run=_down)

    reaper = commands.add_parser("reap", help="take away what labs left whose owner has died")
    reaper.set_defaults(run=_reap)

    build = commands.add_parser("build", help="build the disk image now, if it is not there yet")
    build.set_defaults(run=_build)

    cache = commands.add_parser("cache", help="show what is kept between labs, and its size")
    cache.add_argument("--prune", action="store_true", help="remove all of it")
    cache.set_defaults(run=_cache)
    return parser


if __name__ == "__main__":
    sys.exit(main())
