"""`clm release`: what is listed, pinned and verified, with installers from a folder and from a server of the test's."""

from __future__ import annotations

import hashlib
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.main import run
from pyinfra_hermes.cli.output import visible
from pyinfra_hermes.cli.releases import fetching, overlay_file
from pyinfra_hermes.cli.releases.fetching import CannotFetch, fetch
from pyinfra_hermes.cli.state.records import Agent, Host
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys import redacting
from pyinfra_hermes.deploys.model import manifests
from pyinfra_hermes.deploys.model.releases import shipped
from pyinfra_hermes.deploys.upstream import Upstream
from pyinfra_hermes.deploys.wheelhouse import Wheelhouse

Clm = Callable[..., tuple[int, str, str]]

PLACE = "NousResearch/hermes-agent/{tag}/scripts/install.sh"
SCRIPT = b"#!/bin/bash\necho one\necho two\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def clm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Clm]:
    """`clm` with a state and a cache of its own; returns its exit code and what it said."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HERMES_INSTALLER_BASE", raising=False)
    # What it puts before the streams of this process would outlive pytest's own.
    monkeypatch.setattr(redacting, "install", lambda: None)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(arguments)
        return code, *capsys.readouterr()

    yield call
    manifests.overlay_from(None)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with the installers of two tags that are not listed."""
    for tag, content in (("v2026.8.1", SCRIPT), ("v2026.8.2", SCRIPT + b"echo \x1b[2Jthree \xe2\x80\xae\n")):
        file = tmp_path / "base" / PLACE.format(tag=tag)
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    return tmp_path / "base"


def overlay(tmp_path: Path) -> Path:
    return tmp_path / "config" / "clawrium" / "releases.yaml"


def test_every_release_is_listed_with_those_who_run_it(clm: Clm) -> None:
    with State.open().transaction() as tx:
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="192.0.2.7", user="root")
        tx.hosts["wolf-i"].agents["maurice"] = Agent(
            name="maurice", release="v2026.7.20", port=8642, status="installed"
        )
    code, out, _ = clm("release", "list", "-o", "json")
    rows: list[dict[str, Any]] = json.loads(out)
    assert code == 0
    assert [row["tag"] for row in rows] == [release.tag for release in shipped().releases]
    assert [row["tag"] for row in rows if row["default"]] == [shipped().default]
    assert {row["tag"]: list(row["agents"]) for row in rows if row["agents"]} == {"v2026.7.20": ["wolf-i/maurice"]}
    assert {status for row in rows for each in row["platforms"] for status in (each["installer"], each["wheel"])} <= {
        "tested", "untested", None,
    }  # fmt: skip
    with State.open().transaction() as tx:
        tx.hosts["wolf-i"].agents["agnes"] = Agent(name="agnes", release="v2026.6.1", port=8643, status="installed")
    _, table, _ = clm("release", "list")
    assert "v2026.5.7 *" in table
    assert "wolf-i/maurice" in table
    assert "On record with a release that is not listed: wolf-i/agnes (v2026.6.1)." in table


def test_one_release_is_shown_under_any_of_its_names(clm: Clm) -> None:
    shown = {clm("release", "show", name)[1] for name in ("v2026.7.20", "2026.7.20", "0.19.0", "latest")}
    assert len(shown) == 1
    assert "ubuntu 22.04 x86_64   untested   no" in shown.pop()
    code, _, err = clm("release", "show", "v2026.7.21")
    assert code == Exit.USAGE
    assert "Did you mean v2026.7.1 or v2026.7.20?" in err
    assert "clm release pin v2026.7.21" in err


def test_a_tag_is_pinned_once_it_was_seen(clm: Clm, base: Path, tmp_path: Path) -> None:
    # Without a terminal, and without a word: nothing is pinned.
    code, _, err = clm("release", "pin", "2026.8.1", "--base", str(base))
    assert (code, overlay(tmp_path).exists()) == (Exit.USAGE, False)
    assert sha256(SCRIPT) in err

    code, out, err = clm("release", "pin", "2026.8.1", "--base", str(base), "--yes")
    assert (code, err.count("no lock of wheels")) == (0, 1)
    assert "v2026.8.1 is pinned in" in out
    assert overlay(tmp_path).stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(overlay(tmp_path).read_text()) == {
        "releases": [{"tag": "v2026.8.1", "installer_sha256": sha256(SCRIPT)}]
    }
    _, out, _ = clm("release", "show", "v2026.8.1", "-o", "json")
    shown = json.loads(out)
    assert (shown["adapter"], shown["adapter_chosen"], shown["methods"]) == ("0.19", True, ["installer"])
    assert {row["installer"] for row in shown["platforms"]} == {"untested"}

    # The next one is compared with it, and nothing in it reaches the terminal as it is.
    code, _, err = clm("release", "pin", "v2026.8.2", "--base", str(base), "--yes")
    assert code == 0
    assert "Against the one of v2026.8.1: 1 lines added, 0 removed." in err
    assert "+echo \\x1b[2Jthree \\u202e" in err
    assert "\x1b[2J" not in err

    code, out, _ = clm("release", "pin", "v2026.8.2", "--base", str(base))
    assert (code, out) == (0, "v2026.8.2 is pinned already; nothing to do.\n")


def test_a_moved_tag_is_said_loudly_and_the_earlier_file_is_kept(clm: Clm, base: Path, tmp_path: Path) -> None:
    clm("release", "pin", "v2026.8.1", "--base", str(base), "--yes")
    (base / PLACE.format(tag="v2026.8.1")).write_bytes(SCRIPT + b"echo evil\n")
    code, _, err = clm("release", "pin", "v2026.8.1", "--base", str(base))
    assert code == Exit.USAGE
    assert f"ANOTHER ONE: {sha256(SCRIPT)}" in err
    assert "+echo evil" in err
    assert clm("release", "verify", "v2026.8.1", "--base", str(base))[0] == Exit.DIFFERENT
    assert clm("release", "pin", "v2026.8.1", "--base", str(base), "--yes")[0] == 0
    assert clm("release", "verify", "v2026.8.1", "--base", str(base))[0] == 0
    [earlier] = (overlay(tmp_path).parent / "generations").iterdir()
    assert sha256(SCRIPT) in earlier.read_text()


A = "a" * 64


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            f"# mine\nreleases:\n  - tag: v2026.5.7  # why\n    installer_sha256: {A}\n",
            "# mine\nreleases:\n  - tag: v2026.5.7  # why\n    installer_sha256: {digest}\n",
        ),
        (
            f"# mine\nreleases:\n- tag: v2026.7.1\n  installer_sha256: {A}\n",
            f"# mine\nreleases:\n- tag: v2026.7.1\n  installer_sha256: {A}\n"
            "- tag: v2026.5.7\n  installer_sha256: {digest}\n",
        ),
        (
            "# mine\ndefault: v2026.7.1\n",
            "# mine\ndefault: v2026.7.1\nreleases:\n  - tag: v2026.5.7\n    installer_sha256: {digest}\n",
        ),
        # Laid out otherwise: what it says stays, its comments do not.
        ("releases: [{tag: 2026.5.7, adapter: '0.15'}]\ndefault: v2026.7.1\n", None),
        (f"releases:\n- tag: v2026.7.1\n  installer_sha256: {A}\ndefault: v2026.7.1\n", None),
        ("releases: []\n", None),
    ],
)
def test_what_else_stands_in_the_file_stays(clm: Clm, tmp_path: Path, before: str, after: str | None) -> None:
    with State.open().directory.created():
        overlay(tmp_path).touch(0o600)
    overlay(tmp_path).write_text(before)
    digest = "d" * 64
    overlay_file.pin("v2026.5.7", digest)
    found = overlay(tmp_path).read_text()
    if after is not None:
        assert found == after.replace("{digest}", digest)
    was, now = yaml.safe_load(before), yaml.safe_load(found)
    rows = {row["tag"].removeprefix("v"): row for row in was.get("releases", [])}
    rows["2026.5.7"] = {"tag": "v2026.5.7", **rows.get("2026.5.7", {}), "installer_sha256": digest}
    assert {row["tag"].removeprefix("v"): row for row in now["releases"]} == rows
    assert now.get("default") == was.get("default")
    assert clm("release", "show", "v2026.5.7", "-o", "json")[0] == 0


def test_a_file_that_is_wrong_is_never_written_over(clm: Clm, base: Path, tmp_path: Path) -> None:
    with State.open().directory.created():
        overlay(tmp_path).touch(0o600)
    overlay(tmp_path).write_text("releases:\n- tag: v2026.5.7\n  colour: red\n")
    for command in (("list",), ("pin", "v2026.8.1", "--base", str(base), "--yes"), ("verify",)):
        code, _, err = clm("release", *command)
        assert code == Exit.USAGE
        assert f"{overlay(tmp_path)} line 3: releases.0.colour: Extra inputs are not permitted" in err
    assert "colour" in overlay(tmp_path).read_text()
    code, out, _ = clm("state", "check", "-o", "json")
    assert code == Exit.FAILED
    assert [row["where"] for row in json.loads(out)["problems"]] == ["releases.yaml"]
    overlay(tmp_path).chmod(0o666)
    assert "releases.yaml" in clm("release", "list")[2]


def test_what_cannot_be_had_is_not_known(clm: Clm, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, out, _ = clm("release", "verify", "v2026.5.7", "--base", str(tmp_path / "empty"), "-o", "json")
    outcomes = {row["what"]: row["outcome"] for row in json.loads(out)}
    assert (code, outcomes) == (Exit.FAILED, {"installer": "unknown", "lock": "ok", "cache": "absent"})
    code, _, err = clm("release", "pin", "v2026.5.7", "--base", str(tmp_path / "empty"), "--yes")
    assert (code, overlay(tmp_path).exists()) == (Exit.FAILED, False)
    assert "Nothing was changed" in err
    code, out, _ = clm("release", "verify", "--offline", "-o", "json")
    rows = json.loads(out)
    assert (code, {row["outcome"] for row in rows}) == (0, {"ok", "absent", "unasked"})
    assert {row["subject"] for row in rows} > {release.tag for release in shipped().releases}


def test_a_wheel_in_the_cache_that_was_changed_is_found(clm: Clm, tmp_path: Path) -> None:
    archive = Wheelhouse().place(shipped().release(), "3.11", "x86_64")
    archive.parent.mkdir(parents=True)
    (tmp_path / "uv.whl").write_text("evil")
    with tarfile.open(archive, "w") as tar:
        tar.add(tmp_path / "uv.whl", "uv.whl")
    code, out, _ = clm("release", "verify", "v2026.5.7", "--offline", "-o", "json")
    [found] = [row for row in json.loads(out) if row["what"] == "cache, 3.11 x86_64"]
    assert (code, found["outcome"]) == (Exit.DIFFERENT, "differs")
    assert found["detail"].startswith("uv.whl, ")
    assert str(archive) in found["detail"]


def test_a_wheelhouse_that_lacks_something_is_found(clm: Clm, tmp_path: Path) -> None:
    command = ("release", "verify", "v2026.7.20", "--offline", "--wheelhouse", str(tmp_path), "--python", "3.13")
    code, out, _ = clm(*command, "-o", "json")
    [found] = [row for row in json.loads(out) if row["what"] == "wheelhouse, 3.13 x86_64"]
    assert (code, found["outcome"]) == (Exit.DIFFERENT, "lacks")
    assert clm("release", "verify", "--wheelhouse", str(tmp_path / "none"))[0] == Exit.USAGE


@pytest.mark.parametrize("arguments", [("pin", "main"), ("pin", "v1"), ("download", "v2026.5.7", "x", "--python", "3")])
def test_what_makes_no_sense_is_refused_at_once(clm: Clm, arguments: tuple[str, ...]) -> None:
    assert clm("release", *arguments)[0] == Exit.USAGE


class Server(BaseHTTPRequestHandler):
    """Answers by the tag that is asked for."""

    def do_GET(self) -> None:
        tag = self.path.split("/")[3]
        status, headers, body = {
            "v1.1.1": (200, {}, SCRIPT),
            "v1.1.2": (404, {}, b"nothing"),
            "v1.1.3": (200, {}, b"<html>sign in</html>"),
            "v1.1.4": (302, {"Location": self.path}, b""),
            "v1.1.5": (302, {"Location": "file:///etc/passwd"}, b""),
            "v1.1.6": (200, {}, b"#!" + b"x" * fetching.LARGEST),
            "v1.1.7": (302, {"Location": self.path.replace("v1.1.7", "v1.1.1")}, b""),
            "v1.1.8": (500, {}, b"\x1b[2J"),
        }[tag]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with HTTPServer(("127.0.0.1", 0), Server) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield Upstream(f"http://127.0.0.1:{http.server_port}")
        http.shutdown()


@pytest.mark.parametrize("tag", ["v1.1.1", "v1.1.7"])
def test_an_installer_is_fetched_and_kept_by_its_digest(server: Upstream, tag: str) -> None:
    found = fetch(server, tag)
    assert found.content == SCRIPT
    kept = fetching.kept(found.sha256)
    assert kept is not None
    assert kept.content == SCRIPT
    Path(kept.origin).write_text("changed")
    assert fetching.kept(found.sha256) is None


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("v1.1.2", "answered 404: upstream has no such tag"),
        ("v1.1.3", "is no script"),
        ("v1.1.4", "leads from one address to the next"),
        ("v1.1.5", "which is not https"),
        ("v1.1.6", "sends more than"),
        ("v1.1.8", "answered 500"),
    ],
)
def test_what_is_no_installer_is_refused(server: Upstream, tag: str, said: str) -> None:
    with pytest.raises(CannotFetch, match=said):
        fetch(server, tag)


def test_nobody_listens() -> None:
    with pytest.raises(CannotFetch, match=r"127\.0\.0\.1:1/"):
        fetch(Upstream("http://127.0.0.1:1"), "v1.1.1")


@pytest.mark.parametrize("there", ["http://other.example/x", "//other.example:80/x", "ftp://x/y", "file:///etc/passwd"])
def test_from_https_nobody_is_led_elsewhere(there: str) -> None:
    at = "https://raw.example/a/b"
    if there.startswith("//"):
        assert fetching._onward(at, there).startswith("https://")
        return
    with pytest.raises(CannotFetch, match="it was not followed"):
        fetching._onward(at, there)


def test_what_could_steer_a_terminal_is_spelt_out() -> None:
    assert visible("a\x1b[0m\tb\r\n\u202ec\x9b\u00e9") == "a\\x1b[0m\tb\\r\n\\u202ec\\x9b\u00e9"


def test_a_release_without_wheels_is_refused_before_anything_is_connected_to(clm: Clm, base: Path) -> None:
    with State.open().transaction() as tx:
        tx.hosts["wolf-i"] = Host(name="wolf-i", address="127.0.0.1", port=1, user="root")
    clm("release", "pin", "v2026.8.1", "--base", str(base), "--yes")
    install = ("agent", "install", "--type", "hermes", "--host", "wolf-i", "--name", "maurice", "--method", "wheel")
    code, _, err = clm(*install, "--release", "2026.8.1")
    assert (code, err.count("has no lock of wheels")) == (Exit.USAGE, 1)
    code, _, err = clm(*install, "--release", "2026.8.9")
    assert code == Exit.USAGE
    assert "clm release pin v2026.8.9" in err
