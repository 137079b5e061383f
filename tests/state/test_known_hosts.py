"""Our own list of host keys and the user's, read as OpenSSH reads them."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinfra_hermes.cli.state.directory import StateDirectory
from pyinfra_hermes.cli.state.errors import HostKeyConflict, StateCorrupt, StateReadFailed, StateRefused
from pyinfra_hermes.cli.state.known_hosts import (
    Entry,
    HostKey,
    KnownHosts,
    KnownKeys,
    entry_name,
    look_up,
    look_up_in,
    users_known_hosts,
    with_key,
    without,
)
from pyinfra_hermes.deploys.model.names import InvalidName

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")

SERVERS = [
    ("192.0.2.7", 22),
    ("192.0.2.7", 2222),
    ("wolf.example.org", 22),
    ("::1", 22),
    ("2001:db8::7", 2222),
]


def made_up(type_: str, content: bytes) -> HostKey:
    name = type_.encode()
    return HostKey(type_, len(name).to_bytes(4, "big") + name + content)


ED1, ED2, RSA = made_up("ssh-ed25519", b"1"), made_up("ssh-ed25519", b"2"), made_up("ssh-rsa", b"3")


def keygen(*argv: str | Path) -> str:
    return subprocess.run(["ssh-keygen", *argv], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def known(path: Path) -> KnownHosts:
    return KnownHosts(StateDirectory(path), lock_wait=5)


@needs_ssh_keygen
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_fingerprint_is_what_openssh_shows(tmp_path: Path, kind: str) -> None:
    keygen("-q", "-t", kind, "-N", "", "-C", "a comment", "-f", tmp_path / "key")
    public = tmp_path / "key.pub"
    key = HostKey.parse(public.read_text())
    assert keygen("-lf", public).split()[1] == key.fingerprint
    assert public.read_text().startswith(f"{key} ")


@needs_ssh_keygen
@pytest.mark.parametrize(("address", "port"), SERVERS)
def test_openssh_finds_what_we_wrote(known: KnownHosts, tmp_path: Path, address: str, port: int) -> None:
    keygen("-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    key = HostKey.parse(tmp_path.joinpath("key.pub").read_text())
    assert known.add(address, port, [key])
    assert str(key) in keygen("-F", entry_name(address, port), "-f", known.path)


@needs_ssh_keygen
@pytest.mark.parametrize(("address", "port"), SERVERS)
def test_names_that_openssh_hashed_are_found(tmp_path: Path, address: str, port: int) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"{entry_name(address, port)},other {ED1}\n{entry_name('198.51.100.1', 22)} {ED2}\n")
    keygen("-H", "-f", file)
    assert address not in file.read_text()
    assert look_up_in([file], address, port).keys == (ED1,)
    assert look_up_in([file], "other").keys == (ED1,)
    assert look_up_in([file], address, 2022).keys == ()
    left = without(file.read_text(), address, port)
    assert look_up(left, address, port) == KnownKeys()
    assert look_up(left, "198.51.100.1").keys == (ED2,)


@pytest.mark.parametrize(
    ("names", "address", "port", "found"),
    [
        ("wolf", "wolf", 22, True),
        ("wolf", "WOLF", 22, True),
        ("Wolf", "wolf", 22, True),
        ("wolf", "wolf", 2222, False),
        ("[wolf]:2222", "wolf", 2222, True),
        ("[wolf]:22", "wolf", 22, False),
        ("a,wolf,b", "wolf", 22, True),
        ("*.example.org", "wolf.example.org", 22, True),
        ("*.example.org", "example.org", 22, False),
        ("wol?", "wolf", 22, True),
        ("[*.example.org]:2222", "wolf.example.org", 2222, True),
        ("*,!wolf", "wolf", 22, False),
        ("*,!wolf", "fox", 22, True),
        ("!wolf", "fox", 22, False),
        ("w.lf", "wolf", 22, False),
        ("|1|bm90|aGFzaA==", "wolf", 22, False),
        ("|1|***|***", "wolf", 22, False),
        ("|2|bm90|aGFzaA==", "wolf", 22, False),
        ("|1|", "wolf", 22, False),
        ("::1", "0:0::1", 22, True),
    ],
)
def test_which_names_mean_a_server(names: str, address: str, port: int, found: bool) -> None:
    assert look_up(f"{names} {ED1} a comment\n", address, port).keys == ((ED1,) if found else ())


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# a comment",
        f"#wolf {ED1}",
        "wolf",
        "wolf ssh-ed25519",
        "wolf ssh-ed25519 not-base64!",
        f"wolf ssh-rsa {str(ED1).split()[1]}",
        f"@unknown wolf {ED1}",
        "@revoked",
        f"@ wolf {ED1}",
        "wolf 2048 35 1234567890",
    ],
)
def test_a_line_that_is_none_is_passed_over(line: str) -> None:
    assert Entry.parse(line) is None
    assert look_up(f"{line}\nwolf {RSA}\r\n\twolf\t{ED2}", "wolf").keys == (RSA, ED2)


def test_only_a_newline_ends_a_line() -> None:
    assert look_up(f"fox {ED1} comment\u2028wolf {ED2}\x0bwolf {ED2}\n", "wolf") == KnownKeys()


def test_markers() -> None:
    text = f"wolf {ED1}\n@revoked * {ED1}\n@cert-authority *.org,wolf {RSA}\nwolf {ED2}\n"
    found = look_up(text, "wolf")
    assert found == KnownKeys(keys=(ED2,), revoked=(ED1,))
    assert found.verdict(ED1) == "revoked"
    assert found.verdict(ED2) == "known"
    assert found.verdict(RSA) == "other-type"


def test_verdicts() -> None:
    assert KnownKeys().verdict(ED1) == "unknown"
    assert KnownKeys(keys=(ED1,)).verdict(ED1) == "known"
    assert KnownKeys(keys=(ED1,)).verdict(ED2) == "changed"
    assert KnownKeys(keys=(ED1, RSA)).verdict(ED2) == "changed"
    assert KnownKeys(keys=(RSA,)).verdict(ED2) == "other-type"


def test_our_list(known: KnownHosts) -> None:
    assert known.look_up("wolf") == KnownKeys()
    assert not known.path.parent.exists()
    assert known.add("wolf", 22, [ED1, RSA])
    assert known.look_up("wolf").keys == (ED1, RSA)
    inode = known.path.stat().st_ino
    assert not known.add("wolf", 22, [RSA, ED1])
    assert known.path.stat().st_ino == inode
    assert stat.S_IMODE(known.path.stat().st_mode) == 0o600
    assert known.add("wolf", 2222, [ED2])
    assert known.remove("wolf")
    assert not known.remove("wolf")
    assert known.look_up("wolf") == KnownKeys()
    assert known.look_up("wolf", 2222).keys == (ED2,)


def test_a_changed_key_is_refused_with_both_fingerprints(known: KnownHosts) -> None:
    known.add("wolf", 2222, [ED1])
    before = known.path.read_bytes()
    with pytest.raises(HostKeyConflict, match=r"\[wolf\]:2222 has changed") as caught:
        known.add("wolf", 2222, [RSA, ED2])
    assert ED1.fingerprint in caught.value.message
    assert ED2.fingerprint in caught.value.message
    assert known.path.read_bytes() == before
    known.remove("wolf", 2222)
    assert known.add("wolf", 2222, [ED2])


def test_another_key_takes_the_place_of_all_that_were_trusted_in_one_write(known: KnownHosts) -> None:
    from .test_interruption import CALLS, at_call

    known.add("wolf-i.example", 2222, [ED1])
    known.add("other.example", 22, [ED1])
    with at_call(0, calls=CALLS) as made:
        assert known.replace("wolf-i.example", 2222, ED2)
    assert made.count("replace") == 1
    assert known.look_up("wolf-i.example", 2222).keys == (ED2,)
    assert known.look_up("other.example").keys == (ED1,)
    assert not known.replace("wolf-i.example", 2222, ED2)


def test_a_revoked_key_takes_nobodys_place(known: KnownHosts) -> None:
    known.add("wolf-i.example", 22, [ED1])
    known.path.write_text(known.path.read_text() + f"@revoked wolf-i.example {ED2}\n")
    with pytest.raises(HostKeyConflict, match="revoked"):
        known.replace("wolf-i.example", 22, ED2)
    assert known.look_up("wolf-i.example").keys == (ED1,)


def test_a_revoked_key_is_refused(known: KnownHosts) -> None:
    known.add("wolf", 22, [ED1])
    known.path.write_text(f"@revoked * {ED2}\n")
    with pytest.raises(HostKeyConflict, match="revoked"):
        known.add("fox", 22, [ED2])


@pytest.mark.parametrize("address", ["*", "a b", "a,b", "wolf\nfox", "", "!wolf", "[wolf]", "|1|a|b", "@revoked"])
def test_what_is_no_address_is_refused(known: KnownHosts, address: str) -> None:
    with pytest.raises(InvalidName):
        known.add(address, 22, [ED1])
    with pytest.raises(InvalidName):
        known.look_up(address)


def test_removing_leaves_the_rest_as_it_is() -> None:
    kept = f"# wolf {ED1}\n\n@revoked wolf {ED1}\n*.org,wolf* {ED1}\nwhat is this\nfox {ED1} wolf\r\n"
    text = f"{kept}wolf {ED1}\nfox,wolf,Wolf {RSA} said wolf\n wolf,!x {ED2}"
    assert without(text, "wolf") == f"{kept}fox {RSA} said wolf\n"
    assert without("", "wolf") == ""


def test_our_list_is_checked_like_every_file_of_ours(known: KnownHosts) -> None:
    known.add("wolf", 22, [ED1])
    known.path.write_bytes(b"\n\xff\n")
    with pytest.raises(StateCorrupt, match=r"known_hosts: line 2 is not UTF-8"):
        known.add("fox", 22, [ED1])
    known.path.chmod(0o644)
    with pytest.raises(StateRefused, match="0644"):
        known.look_up("wolf")


def test_the_users_list_is_only_read(tmp_path: Path) -> None:
    files = users_known_hosts({"HOME": str(tmp_path)})
    assert files == (tmp_path / ".ssh/known_hosts", tmp_path / ".ssh/known_hosts2")
    assert look_up_in(files, "wolf") == KnownKeys()
    files[0].parent.mkdir(mode=0o500)
    files[0].parent.chmod(0o700)
    files[0].write_bytes(b"\xff\xfe\n" + f"wolf {ED1}".encode())
    files[1].write_text(f"wolf {RSA}\n")
    files[0].chmod(0o444)
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    assert look_up_in(files, "wolf").keys == (ED1, RSA)
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before
    with pytest.raises(StateReadFailed, match="Is a directory"):
        look_up_in([tmp_path], "wolf")


addresses = st.sampled_from(["wolf", "fox.example.org", "192.0.2.1", "::1", "2001:db8::1"])
ports = st.sampled_from([22, 2222, 65535])
keys = st.sampled_from([ED1, ED2, RSA])


@given(st.lists(st.tuples(addresses, ports, keys), max_size=8), addresses, ports, keys)
def test_what_is_added_is_found_and_what_is_removed_is_not(
    others: list[tuple[str, int, HostKey]], address: str, port: int, key: HostKey
) -> None:
    text = ""
    for other in others:
        text = with_key(text, *other)
    added = with_key(text, address, port, key)
    assert key in look_up(added, address, port).keys
    removed = without(added, address, port)
    assert look_up(removed, address, port) == KnownKeys()
    for other_address, other_port, other_key in others:
        if (other_address, other_port) != (address, port):
            assert other_key in look_up(removed, other_address, other_port).keys


@given(st.text(max_size=200), addresses, ports)
def test_any_text_is_a_list(text: str, address: str, port: int) -> None:
    assert isinstance(look_up(text, address, port), KnownKeys)
    assert look_up(without(text, address, port), address, port).keys == ()
