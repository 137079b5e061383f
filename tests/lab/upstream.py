"""Where releases come from, on the lab's bridge: installers, git repositories, indexes of wheels.

Genuine is what the package registry carries: the installers inside the wheels of some releases, and their sources.
For faults, and for releases whose installer is not to be had, there is one of our own: upstream.sh.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from typing_extensions import override

from pyinfra_hermes.deploys.model.releases import Release, manifest
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse
from tests.lab.cache import cache_directory, digest, made_once
from tests.lab.serving import Asked, Server

_OURS = Path(__file__).with_name("upstream.sh")
#: The releases whose genuine installers are to be had, and find all that they ask for here: sources and packages.
GENUINE = ("v2026.5.29.2", "v2026.7.1", "v2026.7.20")
_PYTHON = "3.11"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet", "--no-deps")
#: What an installation by an installer asks of a host, beside what every lab host has.
NEEDS = ("git", "xz-utils")
#: A git of nobody, at one time: the same sources always make the same commit.
_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "lab",
    "GIT_AUTHOR_EMAIL": "lab@localhost",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "lab",
    "GIT_COMMITTER_EMAIL": "lab@localhost",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}
#: What goes wrong: not the bytes that are pinned; our own installer ends in the middle, hangs, asks for things, or
#: takes packages that nobody has verified.
Fault = Literal["none", "bytes", "exit", "hang", "tty", "fallback"]
#: What our own installer prints before it ends with ``exit``; no message of ours may show it.
PLANTED = "sk-ant-api03-planted-by-the-installer-0123456789"


class Upstream(Server):
    """
    The server. It listens as soon as it exists; `close` ends it.

    A test sets ``fault``, and ``pause`` to the seconds that each step of our own installer takes.
    """

    def __init__(self, address: str, port: int = 0) -> None:
        """Listen without TLS; port 0 takes a free one."""
        self.fault: Fault = "none"
        self.pause = 0.0
        self.asked: list[str] = []
        self._making = threading.Lock()
        self._sources: dict[str, Path] = {}
        self._wheels: dict[str, dict[str, Path]] = {}
        super().__init__(address, port)
        self.url = f"http://{address}:{self.port}"
        #: Below these two the scripts lie as they do on GitHub; our own, and the genuine ones.
        self.base = f"{self.url}/ours"
        self.genuine = f"{self.url}/genuine"

    def reset(self) -> None:
        """Make no more trouble, and forget what was asked."""
        self.fault, self.pause = "none", 0.0
        self.asked.clear()

    def script(self, tag: str, genuine: bool = False) -> bytes:
        """Return the installer of a release, as it should be."""
        if genuine:
            return genuine_installer(manifest().release(tag))
        return (
            _OURS.read_bytes()
            .replace(b"@BASE@", self.url.encode())
            .replace(b"@TAG@", tag.encode())
            .replace(b"@PLANTED@", PLANTED.encode())
        )

    def digest(self, tag: str, genuine: bool = False) -> str:
        """Return the SHA256 of the installer of a release, as it should be."""
        return hashlib.sha256(self.script(tag, genuine)).hexdigest()

    @override
    def handle(self, asked: Asked) -> tuple[int, str, bytes]:
        path, _, query = asked.path.partition("?")
        path = unquote(path)
        self.asked.append(path)
        match path.strip("/").split("/"):
            case [kind, "NousResearch", "hermes-agent", tag, "scripts", "install.sh"] if kind == "ours" or (
                kind == "genuine" and tag in GENUINE
            ):
                script = self.script(tag, kind == "genuine")
                return 200, "text/plain", script + (b"# not this\n" if self.fault == "bytes" else b"")
            case ["orders"]:
                return 200, "text/plain", f"{self.fault} {self.pause}\n".encode()
            case ["wheels", tag]:
                return 200, "application/x-tar", wheels(manifest().release(tag)).read_bytes()
            case [tag, "hermes-agent.git", *rest] if tag in self._sources:
                return _git(self._sources[tag], asked, "/".join(rest), query)
            case [tag, "simple", name] if tag in self._wheels:
                links = [f'<a href="../../wheel/{quote(w)}">{w}</a>' for w in self._wheels[tag] if _named(w) == name]
                return (200 if links else 404), "text/html", f"<!doctype html>{''.join(links)}".encode()
            case [tag, "wheel", file] if file in self._wheels.get(tag, ()):
                return 200, "application/octet-stream", self._wheels[tag][file].read_bytes()
        return 404, "text/plain", b"404: Not Found"

    def repository(self, tag: str) -> str:
        """Return the URL of a git repository with the sources of a release at its tag."""
        with self._making:
            self._sources[tag] = sources(manifest().release(tag))
        return f"{self.url}/{tag}/{self._sources[tag].name}"

    def index(self, tag: str) -> str:
        """Return the URL of a package index (UV_DEFAULT_INDEX) with all that a genuine installer asks for."""
        with self._making:
            self._wheels[tag] = {wheel.name: wheel for wheel in dependencies(manifest().release(tag)).iterdir()}
        return f"{self.url}/{tag}/simple"


def genuine_installer(release: Release) -> bytes:
    """Return upstream's own installer, out of the release's wheel, checked against the manifest's pin."""
    packed = zipfile.ZipFile(io.BytesIO(_member(release, f"hermes_agent-{release.version}-py3-none-any.whl")))
    script = packed.read("hermes_cli/scripts/install.sh")
    actual = hashlib.sha256(script).hexdigest()
    assert actual == release.installer_sha256, f"{release.tag}: the wheel's installer is {actual}"
    return script


def wheels(release: Release) -> Path:
    """Return the archive with the wheels and the sources of a release, as `clm` fetches and checks them."""
    return Wheelhouse().archive(release, _PYTHON, platform.machine())


def dependencies(release: Release) -> Path:
    """Return a folder with the wheels that an installation of the sources with their extra "all" takes."""
    name = digest("all", release.version)

    def fetch(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            known = Path(temporary) / "wheels"
            with tarfile.open(wheels(release)) as archive:
                archive.extractall(known, filter="data")
            wanted = f"hermes-agent[all]=={release.version}\nsetuptools<83\n"
            compiled = _run(
                str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--no-header", "--no-annotate",
                f"--python-version={_PYTHON}", "--no-emit-index-url", "-", stdin=wanted,
            )  # fmt: skip
            missing = []
            for line in compiled.decode().splitlines():
                package, _, version = line.partition("==")
                start = f"{package.replace('-', '_')}-{version}-"
                if found := [wheel for wheel in known.glob("*.whl") if wheel.name.lower().startswith(start)]:
                    shutil.copy(found[0], folder)
                else:
                    missing.append(line)
            _run(*_PIP, "--only-binary=:all:", f"--dest={folder}", *missing)

    return made_once(cache_directory() / "wheels" / name, fetch)


def sources(release: Release) -> Path:
    """Return a bare git repository with the sources of a release as its one commit, tagged as upstream does."""
    name = digest("sources", release.tag, release.version)

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            if release.source is not None:
                Path(temporary, release.source.file).write_bytes(_member(release, release.source.file))
            else:
                # Not among what `clm` fetches: the wheel of this release lacks nothing that the sources have.
                _run(*_PIP, "--no-binary=hermes-agent", f"--dest={temporary}", f"hermes-agent=={release.version}")
            [file] = Path(temporary).iterdir()
            with tarfile.open(file) as archive:
                archive.extractall(temporary, filter="data")
            tree = Path(temporary, file.name.removesuffix(".tar.gz"))
            for command in (
                ["init", "--quiet", "--initial-branch=main"],
                ["add", "--all", "--force"],
                ["commit", "--quiet", f"--message=sources of {release.version}"],
                ["tag", release.tag],
            ):
                _run("git", "-C", str(tree), *command, environment=_GIT)
            _run("git", "clone", "--quiet", "--bare", str(tree), str(folder / "hermes-agent.git"), environment=_GIT)

    return made_once(cache_directory() / "wheels" / name, build) / "hermes-agent.git"


def _member(release: Release, name: str) -> bytes:
    with tarfile.open(wheels(release)) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


def _named(wheel: str) -> str:
    return wheel.partition("-")[0].lower().replace("_", "-").replace(".", "-")


def _git(folder: Path, asked: Asked, path: str, query: str) -> tuple[int, str, bytes]:
    # Not the plain files: from 0.18 on the installers clone with --depth, which needs git's own server.
    said = _run(
        "git", "http-backend", stdin=asked.raw,
        environment={
            **_GIT,
            "GIT_PROJECT_ROOT": str(folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{path}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": asked.method,
            "CONTENT_TYPE": asked.header("Content-Type") or "",
            "HTTP_CONTENT_ENCODING": asked.header("Content-Encoding") or "",
            "GIT_PROTOCOL": asked.header("Git-Protocol") or "",
        },
    )  # fmt: skip
    head, _, body = said.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
    return int(headers.get("Status", "200").partition(" ")[0]), headers.get("Content-Type", "text/plain"), body


def _run(
    *command: str, stdin: bytes | str = b"", environment: dict[str, str] | None = None, folder: str | None = None
) -> bytes:
    done = subprocess.run(
        command,
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stderr.decode(errors='replace')}"
    return done.stdout
