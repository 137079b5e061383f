"""Encrypted secrets: known answers, every kind of damage and of wrong key told apart, and who is asked for what."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyinfra_hermes.cli import asking
from pyinfra_hermes.cli.state import conversion, encryption, unlocking
from pyinfra_hermes.cli.state.documents import Defect, encode
from pyinfra_hermes.cli.state.encryption import (
    Altered,
    EncryptedFile,
    Key,
    KeySource,
    NotTheKey,
    ScryptParameters,
    derive,
    encrypted,
)
from pyinfra_hermes.cli.state.errors import KeyUnavailable, StateCorrupt, StateError, StateRefused, WrongKey
from pyinfra_hermes.cli.state.records import Host
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret

from .encrypting import PASSPHRASE, forget, private, with_key_file, with_passphrase

CHEAP = ScryptParameters(n=2**14, r=8, p=1)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process of its own, with a passphrase that costs little."""
    monkeypatch.setattr(encryption, "PARAMETERS", CHEAP)
    for name in (unlocking.PASSPHRASE_FILE, unlocking.KEY_FILE):
        monkeypatch.delenv(name, raising=False)
    forget()
    yield
    forget()


def key_from_file() -> Key:
    return derive(bytes(32), KeySource(kind="key-file", path="/k"))


def file_of(key: Key, content: bytes = b"content") -> tuple[EncryptedFile, bytes]:
    file = key.encrypt(content)
    octets = encode(file)
    assert isinstance(octets, bytes)
    return file, octets


# Known answers: our functions are the standards' functions.


@pytest.mark.parametrize(
    ("passphrase", "salt", "n", "r", "p", "wanted"),
    [
        ("", "", 16, 1, 1, "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
                           "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906"),
        ("password", "NaCl", 1024, 8, 16, "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
                                          "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"),
        ("pleaseletmein", "SodiumChloride", 16384, 8, 1,
         "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
         "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"),
    ],
)  # fmt: skip
def test_scrypt_of_rfc_7914(passphrase: str, salt: str, n: int, r: int, p: int, wanted: str) -> None:
    assert encryption.scrypt(passphrase.encode(), salt.encode(), n, r, p, 64).hex() == wanted


def test_a_passphrase_is_stretched_by_exactly_that(monkeypatch: pytest.MonkeyPatch) -> None:
    # The third vector is within the bounds of a file, so the whole way from its header to the key can be checked.
    monkeypatch.setattr(encryption, "PARAMETERS", ScryptParameters(n=16384, r=8, p=1))
    template = file_of(derive(Secret("x"), KeySource(kind="passphrase")))[0].encryption
    monkeypatch.setattr(os, "urandom", lambda size: (b"SodiumChloride" * 2)[:size])
    wanted = encryption.scrypt(b"pleaseletmein", b"SodiumChlorideSo", 16384, 8, 1, 64)
    key = derive(Secret("pleaseletmein"), KeySource(kind="passphrase"))
    assert key._bytes == wanted
    assert not key.fits(template)


def test_hkdf_of_rfc_5869() -> None:
    derived = encryption.hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert derived.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"


GCM = [
    ("00" * 32, "00" * 12, "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    ("00" * 32, "00" * 12, "00" * 16, "", "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
    (
        "feffe9928665731c6d6a8f9467308308" * 2,
        "cafebabefacedbaddecaf888",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
]


@pytest.mark.parametrize(("key", "nonce", "content", "associated", "wanted"), GCM)
def test_aes_256_gcm_of_nist(key: str, nonce: str, content: str, associated: str, wanted: str) -> None:
    given_ = [bytes.fromhex(text) for text in (key, nonce, content, associated)]
    assert encryption.gcm_encrypt(*given_).hex() == wanted
    assert encryption.gcm_decrypt(given_[0], given_[1], bytes.fromhex(wanted), given_[3]) == given_[2]
    assert encryption.gcm_decrypt(given_[0], given_[1], bytes.fromhex(wanted), given_[3] + b"x") is None


# The envelope.


@given(st.binary(max_size=300), st.binary(min_size=32, max_size=32))
def test_what_is_encrypted_comes_back(content: bytes, material: bytes) -> None:
    key = derive(material, KeySource(kind="key-file", path="/k"))
    file, octets = file_of(key, content)
    again = encrypted(octets)
    assert again == file
    assert derive(material, KeySource(kind="key-file", path="/k"), file.encryption).decrypt(file) == content
    assert len(content) < 5 or content not in octets


def test_a_nonce_is_used_once() -> None:
    key = key_from_file()
    assert len({key.encrypt(b"same").encryption.nonce for _ in range(1000)}) == 1000


def test_no_byte_can_be_changed_unnoticed() -> None:
    _, octets = file_of(key_from_file(), b"x" * 40)
    for offset in range(len(octets)):
        for change in (0x01, 0x20, 0x80):
            damaged = bytearray(octets)
            damaged[offset] ^= change
            assert is_noticed(bytes(damaged)), (offset, bytes(damaged[max(offset - 20, 0) : offset + 20]))


@settings(max_examples=300)
@given(st.data())
def test_no_cut_no_insertion_and_no_exchange_is_unnoticed(data: st.DataObject) -> None:
    _, octets = file_of(key_from_file(), b"x" * 40)
    offset = data.draw(st.integers(0, len(octets)))
    removed = data.draw(st.integers(0, 30))
    put = data.draw(st.binary(max_size=30))
    damaged = octets[:offset] + put + octets[offset + removed :]
    assert damaged == octets or is_noticed(damaged)


def is_noticed(octets: bytes) -> bool:
    """Tell whether bytes are refused without any key: as an encrypted file, or else as a plain one."""
    from pyinfra_hermes.cli.state.records import SecretsFile

    return encryption.defect_of(SecretsFile, octets) is not None


def test_formatting_by_hand_is_noticed_too() -> None:
    _, octets = file_of(key_from_file())
    outcome = encrypted(json.dumps(json.loads(octets)).encode())
    assert isinstance(outcome, Defect)
    assert "is not as it was written" in outcome.what


def test_three_things_that_can_be_wrong_are_three_answers() -> None:
    key = key_from_file()
    file, octets = file_of(key)
    with pytest.raises(NotTheKey):
        derive(bytes(31) + b"x", file.encryption.key_source, file.encryption).decrypt(file)
    assert isinstance(encrypted(octets.replace(b'"nonce": "', b'"nonce": "A', 1)), Defect)
    for forged in forgeries(octets):
        assert isinstance(forged, EncryptedFile)
        with pytest.raises((Altered, NotTheKey)):
            key.decrypt(forged)


def forgeries(octets: bytes) -> Iterator[EncryptedFile | Defect | None]:
    """Changes on purpose: the file is as this program would have written it, checksum included."""
    for place, value in (
        (("ciphertext",), base64.b64encode(bytes(23)).decode()),
        (("encryption", "nonce"), base64.b64encode(bytes(12)).decode()),
        (("encryption", "salt"), base64.b64encode(bytes(16)).decode()),
        (("encryption", "key_check"), base64.b64encode(bytes(32)).decode()),
        (("encryption", "key_source"), {"kind": "key-file", "path": "/other", "argv": []}),
    ):
        plain = json.loads(octets)
        inner = plain
        for part in place[:-1]:
            inner = inner[part]
        inner[place[-1]] = value
        header = EncryptedFile.from_plain({**plain, "sha256": "0" * 64})
        plain["sha256"] = header.digest()
        yield encrypted((json.dumps(plain, indent=2) + "\n").encode())


def test_changes_of_the_content_and_of_its_header_are_found_by_the_key() -> None:
    key = key_from_file()
    found = []
    for forged in forgeries(file_of(key)[1]):
        assert isinstance(forged, EncryptedFile)
        try:
            key.decrypt(forged)
        except (Altered, NotTheKey) as error:
            found.append(type(error))
    assert found == [Altered, Altered, NotTheKey, NotTheKey, Altered]


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"n": 2**30, "r": 8, "p": 1}, "less than or equal"),
        ({"n": 2**20, "r": 32, "p": 1}, "more memory or time"),
        ({"n": 2**14, "r": 8, "p": 10**9}, "less than or equal"),
        ({"n": 2**20, "r": 2, "p": 8}, "more memory or time"),
        ({"n": 2**13, "r": 8, "p": 1}, "greater than or equal"),
        ({"n": 2**14 + 1, "r": 8, "p": 1}, "power of two"),
        ({"n": True, "r": 8, "p": 1}, "integer"),
    ],
)
def test_a_hostile_file_cannot_have_our_memory_or_time(parameters: dict[str, int], says: str) -> None:
    _, octets = file_of(derive(PASSPHRASE, KeySource(kind="passphrase")))
    plain = json.loads(octets)
    plain["encryption"]["parameters"] = parameters
    with mock.patch.object(encryption, "scrypt", side_effect=AssertionError("it was derived")):
        outcome = encrypted(json.dumps(plain).encode())
    assert isinstance(outcome, Defect)
    assert says in outcome.what


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("cipher", "ROT13", "encryption.cipher"),
        ("kdf", "md5", "encryption.kdf"),
        ("kdf", "scrypt", "hkdf-sha256 without for a random key"),
        ("salt", "AAAA", "encryption.salt: should hold another number of bytes"),
        ("nonce", "*", "encryption.nonce: should be base64"),
        ("key_source", {"kind": "passphrase", "path": "/x", "argv": []}, "encryption.key_source"),
        ("key_source", {"kind": "command", "path": None, "argv": []}, "encryption.key_source"),
        ("extra", 1, "encryption.extra: is not a known field"),
    ],
)
def test_a_header_of_another_kind_is_refused_with_its_place(place: str, value: object, says: str) -> None:
    plain = json.loads(file_of(key_from_file())[1])
    plain["encryption"][place] = value
    outcome = encrypted(json.dumps(plain).encode())
    assert isinstance(outcome, Defect)
    assert says in outcome.what


def test_a_later_version_is_told_as_such() -> None:
    plain = json.loads(file_of(key_from_file())[1])
    outcome = encrypted(json.dumps({**plain, "schema_version": 3}).encode())
    assert isinstance(outcome, Defect) and outcome.is_newer


def test_the_same_passphrase_typed_on_two_keyboards() -> None:
    source = KeySource(kind="passphrase")
    file = derive(Secret("caf\N{LATIN SMALL LETTER E WITH ACUTE} society"), source).encrypt(b"x")
    assert derive(Secret("cafe\N{COMBINING ACUTE ACCENT} society"), source, file.encryption).decrypt(file) == b"x"


def test_a_key_shows_nothing_of_itself() -> None:
    key = derive(b"k" * 32, KeySource(kind="key-file", path="/k"))
    assert "kkkk" not in repr(key) and key._bytes.hex()[:8] not in repr(key).encode().hex()


# The state: who is asked for a key, and when.


@pytest.fixture
def sealed(filled: State, tmp_path: Path) -> State:
    """The state of the other tests, with its secrets encrypted by a key file, in a new process."""
    conversion.encrypt(filled, with_key_file(tmp_path / "key"))
    forget()
    return filled


@pytest.fixture
def locked(filled: State) -> State:
    """The same with a passphrase, which nobody gives."""
    conversion.encrypt(filled, with_passphrase())
    forget()
    return filled


def test_an_encrypted_file_is_read_and_written_like_a_plain_one(sealed: State, path: Path) -> None:
    assert sealed.read().secret("provider:cloud", "API_KEY") == Secret("sk-first")
    before = json.loads(path.joinpath("secrets.json").read_text())
    with sealed.transaction() as tx:
        tx.secrets.set("provider:cloud", "API_KEY", Secret("sk-second"))
    after = json.loads(path.joinpath("secrets.json").read_text())
    forget()
    assert sealed.read().secret("provider:cloud", "API_KEY") == Secret("sk-second")
    assert before["encryption"]["salt"] == after["encryption"]["salt"]
    assert before["encryption"]["nonce"] != after["encryption"]["nonce"]
    assert stat.S_IMODE(path.joinpath("secrets.json").stat().st_mode) == 0o600


def test_nothing_is_written_when_nothing_changed(sealed: State, path: Path) -> None:
    before = path.joinpath("secrets.json").read_bytes()
    with sealed.transaction() as tx:
        tx.secrets.set("provider:cloud", "API_KEY", Secret("sk-first"))
    with sealed.transaction() as tx:
        tx.hosts["wolf-i"].port = 2222
    assert path.joinpath("secrets.json").read_bytes() == before


def test_what_is_encrypted_stays_so_and_what_is_plain_stays_so(sealed: State, state: State, path: Path) -> None:
    for number in range(5):
        with sealed.transaction() as tx:
            tx.secrets.set("provider:cloud", "API_KEY", Secret(f"sk-{number}"))
        assert isinstance(encrypted(path.joinpath("secrets.json").read_bytes()), EncryptedFile)
    conversion.decrypt(sealed)
    for number in range(5):
        with sealed.transaction() as tx:
            tx.secrets.set("provider:cloud", "API_KEY", Secret(f"sk-again-{number}"))
        assert encrypted(path.joinpath("secrets.json").read_bytes()) is None


def test_who_needs_no_secret_is_asked_for_nothing(locked: State) -> None:
    with mock.patch.object(unlocking, "_ask", side_effect=AssertionError("somebody was asked")):
        snapshot = locked.read()
        assert snapshot.agent("hermes-test").agent.provider == "cloud"
        with locked.transaction() as tx:
            tx.hosts["other"] = Host(name="other", address="::1", user="root")
        assert "other" in locked.read().hosts


def test_a_person_is_asked_once_in_a_process(locked: State, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(asking, "interactive", lambda: True)
    monkeypatch.setattr(asking, "hidden", lambda label, flag, required: asked.append(label) or PASSPHRASE)
    with mock.patch.object(encryption, "scrypt", wraps=encryption.scrypt) as derived:
        for _ in range(3):
            assert locked.read().secret("provider:cloud", "API_KEY") == Secret("sk-first")
            with locked.transaction() as tx:
                assert tx.secrets.names("provider:cloud")
    assert asked == [f"Passphrase for {locked.directory.path / 'secrets.json'}"]
    assert derived.call_count == 1


def test_many_threads_derive_once(locked: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(unlocking.PASSPHRASE_FILE, str(private(tmp_path / "p", PASSPHRASE.reveal())))
    snapshot = locked.read()
    with mock.patch.object(encryption, "scrypt", wraps=encryption.scrypt) as derived:
        threads = [threading.Thread(target=lambda: snapshot.secrets) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert derived.call_count == 1


def test_a_wrong_passphrase_is_tried_once_for_a_snapshot(
    locked: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(unlocking.PASSPHRASE_FILE, str(private(tmp_path / "p", "something else\n")))
    snapshot = locked.read()
    with mock.patch.object(encryption, "scrypt", wraps=encryption.scrypt) as derived:
        for _ in range(3):
            with pytest.raises(
                WrongKey, match=r"is not the one that .* was encrypted with; the file itself is undamaged"
            ):
                assert snapshot.secrets
    assert derived.call_count == 1


@pytest.mark.parametrize("writing", [True, False])
def test_without_a_terminal_the_message_says_what_to_set(locked: State, path: Path, writing: bool) -> None:
    with pytest.raises(KeyUnavailable) as caught:
        if writing:
            with locked.transaction() as tx:
                tx.secrets.remove_scope("provider:cloud")
        else:
            locked.read().secret("provider:cloud", "API_KEY")
    assert caught.value.message == (
        f"{path / 'secrets.json'} is encrypted with a passphrase, and nobody can be asked for it here"
    )
    assert caught.value.remedy == "Put it into a file that only you can read: CLM_PASSPHRASE_FILE=FILE"


def test_nobody_is_asked_where_it_was_said_so(locked: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "interactive", lambda: True)
    with unlocking.without_asking(), pytest.raises(KeyUnavailable):
        assert locked.read().secrets


def test_a_passphrase_from_a_file_of_ours_alone(locked: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = private(tmp_path / "p", f"{PASSPHRASE.reveal()}\n")
    monkeypatch.setenv(unlocking.PASSPHRASE_FILE, str(file))
    assert locked.read().secrets.names("provider:cloud") == ("API_KEY",)
    forget()
    file.chmod(0o640)
    with pytest.raises(StateRefused, match="is open to other users") as caught:
        assert locked.read().secrets
    assert caught.value.remedy == f"chmod 600 {file}"
    file.unlink()
    with pytest.raises(KeyUnavailable, match=f"The passphrase file {file} cannot be read: No such file"):
        assert locked.read().secrets


def test_a_key_file_of_ours_alone(sealed: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, moved = tmp_path / "key", tmp_path / "moved"
    key.rename(moved)
    with pytest.raises(KeyUnavailable, match=f"The key file {key} cannot be read") as caught:
        assert sealed.read().secrets
    assert caught.value.remedy == "Bring it back, or say where it is: CLM_KEY_FILE=FILE"
    monkeypatch.setenv(unlocking.KEY_FILE, str(moved))
    assert sealed.read().secrets.names("provider:cloud") == ("API_KEY",)
    forget()
    moved.chmod(0o604)
    with pytest.raises(StateRefused, match="is open to other users"):
        assert sealed.read().secrets
    moved.chmod(0o600)
    moved.write_text(base64.b64encode(os.urandom(32)).decode())
    with pytest.raises(WrongKey, match=f"The key in {moved} is not the one"):
        assert sealed.read().secrets
    moved.write_text("hunter2")
    with pytest.raises(KeyUnavailable, match="should hold 32 bytes in base64"):
        assert sealed.read().secrets


def test_a_key_file_is_made_for_us_alone_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "key"
    unlocking.make_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(unlocking.read_key_file(path)) == 32
    before = path.read_bytes()
    with pytest.raises(StateRefused, match="never overwritten"):
        unlocking.make_key_file(path)
    assert path.read_bytes() == before
    with pytest.raises(StateError, match="Cannot make the key file"):
        unlocking.make_key_file(tmp_path / "none" / "key")


def test_a_command_that_prints_the_passphrase(filled: State, tmp_path: Path) -> None:
    program = tmp_path / "stand-in-for-a-password-manager"
    program.write_text(f"#!/bin/sh\necho asked >>{tmp_path}/calls\ncat {tmp_path}/kept\n")
    program.chmod(0o700)
    tmp_path.joinpath("kept").write_text("from the manager\n")
    source = KeySource(kind="command", argv=(str(program), "a b; touch owned"))
    conversion.encrypt(filled, conversion.NewKey(source, lambda: unlocking.passphrase_of(source.argv)))
    forget()
    tmp_path.joinpath("calls").unlink()
    for _ in range(3):
        assert filled.read().secrets.names("provider:cloud") == ("API_KEY",)
    assert tmp_path.joinpath("calls").read_text() == "asked\n"
    forget()
    tmp_path.joinpath("kept").write_text("another\n")
    with pytest.raises(WrongKey, match="stand-in-for-a-password-manager"):
        assert filled.read().secrets
    tmp_path.joinpath("kept").unlink()
    with pytest.raises(
        KeyUnavailable, match="gave none: stand-in-for-a-password-manager ended with exit status 1: cat:"
    ):
        assert filled.read().secrets
    program.unlink()
    with pytest.raises(KeyUnavailable, match="is not installed"):
        assert filled.read().secrets


def test_damage_is_told_without_a_key_and_with_the_way_back(locked: State, path: Path) -> None:
    file = path / "secrets.json"
    octets = file.read_bytes()
    file.write_bytes(octets.replace(b'"r": 8', b'"r": 9'))
    with pytest.raises(StateCorrupt, match="is encrypted, and is not as it was written") as caught:
        locked.read()
    assert "The last good version is" in caught.value.message
    assert "Nothing was overwritten" in caught.value.message
    with pytest.raises(StateCorrupt), locked.transaction():
        raise AssertionError("a damaged file must not be changed")


def test_a_change_on_purpose_is_told_when_the_key_is_there(sealed: State, path: Path) -> None:
    file = path / "secrets.json"
    forged = list(forgeries(file.read_bytes()))[1]
    assert isinstance(forged, EncryptedFile)
    octets = encode(forged)
    assert isinstance(octets, bytes)
    file.write_bytes(octets)
    with pytest.raises(StateCorrupt, match="was changed by somebody on purpose"):
        assert sealed.read().secrets
    with pytest.raises(StateCorrupt, match="on purpose"), sealed.transaction() as tx:
        tx.secrets.remove_scope("provider:cloud")
    assert file.read_bytes() == octets


def test_an_encrypted_file_that_is_lost_is_not_begun_anew_in_the_open(state: State, path: Path, tmp_path: Path) -> None:
    with state.transaction() as tx:
        tx.secrets.set("provider:p", "API_KEY", Secret("sk-first"))
    conversion.encrypt(state, with_key_file(tmp_path / "key"))
    path.joinpath("secrets.json").unlink()
    with (
        pytest.raises(StateCorrupt, match="is not there, although earlier versions of it are"),
        state.transaction() as tx,
    ):
        tx.secrets.set("provider:p", "API_KEY", Secret("sk-second"))
    assert not path.joinpath("secrets.json").exists()


def test_a_snapshot_of_encrypted_secrets_cannot_be_changed(sealed: State) -> None:
    with pytest.raises(TypeError, match="transaction"):
        sealed.read().secrets.set("provider:cloud", "API_KEY", Secret("other"))


def test_the_key_is_asked_for_before_the_lock_is_held(locked: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(path: Path) -> Secret:
        with State.open(locked.directory, lock_wait=0.1).transaction():
            return PASSPHRASE

    monkeypatch.setattr(unlocking, "_ask", ask)
    locked.unlock()
    with locked.transaction() as tx:
        assert tx.secrets.names("provider:cloud") == ("API_KEY",)


def test_cryptography_is_loaded_for_an_encrypted_file_only(sealed: State, path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from pyinfra_hermes.cli.state.store import State\n"
        f"snapshot = State.open(Path({str(path)!r})).read()\n"
        "assert snapshot.hosts and 'cryptography' not in sys.modules, 'loaded for a file that nobody looked into'\n"
        "assert snapshot.secrets.scopes and 'cryptography' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_present_parameters_are_what_owasp_recommends() -> None:
    # Read from a fresh process: this one has cheaper ones.
    program = "from pyinfra_hermes.cli.state.encryption import PARAMETERS as p; print(p.n, p.r, p.p)"
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert printed.stdout.split() == ["131072", "8", "1"]
