"""
`clm secret encrypt --keyring`, with the real library in processes of its own.

Its keyring here is the one of keyrings.alt that keeps a plain file, chosen by its name: a Secret Service needs a
session bus. That its every refusal is told, stays with kinds of keyring that are made to refuse.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from pyinfra_hermes.cli.exits import Exit
from pyinfra_hermes.cli.state.records import Provider, provider_scope
from pyinfra_hermes.cli.state.store import State
from pyinfra_hermes.deploys.model.secret import Secret
from tests.lab.person import Person, Said

INSTALL = "pip install 'pyinfra-hermes[keyring]'"
PLAIN_FILE = "keyrings.alt.file.PlaintextKeyring"

#: Kinds of keyring that go wrong, each in its own way.
BACKENDS = """
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordSetError


class Forgetful(KeyringBackend):
    priority = 1

    def set_password(self, service, username, password):
        pass

    def get_password(self, service, username):
        return None


class Lying(Forgetful):
    def get_password(self, service, username):
        return "hunter2-not-a-key"


class Locked(Forgetful):
    def get_password(self, service, username):
        raise KeyringLocked("Failed to unlock the collection!")


class Refusing(Forgetful):
    def set_password(self, service, username, password):
        raise PasswordSetError(f"no room for {password}")
"""


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody with one secret, and with a keyring that is theirs alone."""
    person = Person(tmp_path / "config")
    with State.open(person.state).transaction() as tx:
        tx.providers["cloud"] = Provider(
            name="cloud", type="custom", options={"url": "http://192.0.2.9/v1", "model": "m"}
        )
        tx.secrets.set(provider_scope("cloud"), "API_KEY", Secret("sk-sentinel-cloud"))
    person.environment |= {"XDG_DATA_HOME": str(tmp_path / "data"), "PYTHON_KEYRING_BACKEND": PLAIN_FILE}
    person.environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
    return person


@pytest.fixture
def encrypted(person: Person) -> Person:
    """The same, encrypted with a key of the keyring."""
    person.clm("secret", "encrypt", "--keyring")
    return person


def source(person: Person) -> dict[str, str]:
    header: dict[str, str] = json.loads(person.state.joinpath("secrets.json").read_text())["encryption"]["key_source"]
    return header


def with_backend(person: Person, tmp_path: Path, name: str) -> Person:
    folder = tmp_path / "backends"
    folder.mkdir(exist_ok=True)
    folder.joinpath("refusing_keyrings.py").write_text(BACKENDS)
    return person.but(PYTHONPATH=str(folder), PYTHON_KEYRING_BACKEND=f"refusing_keyrings.{name}")


def works(person: Person) -> None:
    assert person.clm("secret", "get", "provider:cloud", "API_KEY").out == "sk-sentinel-cloud\n"


def test_the_key_is_in_the_keyring_and_the_file_says_where(person: Person) -> None:
    said = person.clm("secret", "encrypt", "--keyring").lacks("sentinel")
    where = source(person)
    assert (where["kind"], where["service"]) == ("keyring", "pyinfra-hermes")
    said.has(f"as {where['entry']} of pyinfra-hermes", f"keyring get pyinfra-hermes {where['entry']}")
    assert not any(b"sentinel" in content for content in person.records().values())
    works(person)
    person.clm("secret", "set", "provider:cloud", "API_KEY", "--stdin", "--yes", stdin="sk-sentinel-next")
    assert source(person) == where
    person.clm("secret", "status").has(f"the key {where['entry']} of pyinfra-hermes in the system keyring")
    # Who looks at everything is not to set off a keyring's own question.
    person.clm("state", "check").has("was not looked into", "which may ask for its own password")


def test_from_one_key_to_another_and_back(encrypted: Person, tmp_path: Path) -> None:
    first = source(encrypted)
    said = encrypted.clm("secret", "rekey", "--keyring")
    second = source(encrypted)
    assert first["entry"] != second["entry"]
    said.has(f"keyring del pyinfra-hermes {first['entry']}", f"as {second['entry']} of pyinfra-hermes")
    works(encrypted)
    encrypted.clm("secret", "rekey", "--same").lacks("keyring del")
    assert source(encrypted) == second
    works(encrypted)
    said = encrypted.clm("secret", "rekey", "--key-file", str(tmp_path / "key"), "--generate")
    said.has(f"keyring del pyinfra-hermes {second['entry']}").lacks("The key is in the system keyring")
    works(encrypted.but(PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring"))
    encrypted.clm("secret", "rekey", "--keyring").has("The key is in the system keyring")
    encrypted.clm("secret", "decrypt", "--yes").has("is plain text now.")
    works(encrypted)


def test_a_copy_of_the_key_does_where_there_is_no_keyring(encrypted: Person, tmp_path: Path) -> None:
    import configparser

    kept = configparser.ConfigParser()
    [file] = (tmp_path / "data").rglob("keyring_pass.cfg")
    kept.read(file)
    # The plain file of keyrings.alt has the value in base64 once more.
    [value] = [v for section in kept.sections() for v in kept[section].values()]
    copy = tmp_path / "copy"
    copy.touch(mode=0o600)
    copy.write_bytes(base64.decodebytes(value.encode()))
    elsewhere = encrypted.but(PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring", CLM_KEY_FILE=str(copy))
    works(elsewhere)
    copy.write_text(base64.b64encode(b"x" * 32).decode())
    elsewhere.clm("secret", "list", code=Exit.REFUSED).has(f"The key in {copy} is not the one that")


def refused(person: Person, says: tuple[str, ...], code: Exit = Exit.USAGE) -> Said:
    before = person.records()
    said = person.clm("secret", "encrypt", "--keyring", code=code).has(*says).lacks("sentinel")
    assert person.records() == before, "something was changed"
    return said


def test_a_library_that_is_not_installed(person: Person, tmp_path: Path) -> None:
    folder = tmp_path / "without"
    folder.mkdir()
    folder.joinpath("keyring.py").write_text("raise ModuleNotFoundError(\"No module named 'keyring'\")\n")
    refused(person.but(PYTHONPATH=str(folder)), ("library for the system keyring is not installed", INSTALL))
    person.clm("secret", "encrypt", "--keyring")
    said = person.but(PYTHONPATH=str(folder)).clm("secret", "list", code=Exit.USAGE)
    said.has("library for the system keyring is not installed", INSTALL)


@pytest.mark.parametrize("backend", ["keyring.backends.fail.Keyring", "keyring.backends.null.Keyring"])
def test_no_keyring_is_no_plain_file(person: Person, backend: str) -> None:
    without = person.but(PYTHON_KEYRING_BACKEND=backend)
    refused(without, ("There is no system keyring here", INSTALL))
    person.clm("secret", "encrypt", "--keyring")
    without.clm("secret", "list", code=Exit.USAGE).has("There is no system keyring here", "CLM_KEY_FILE=FILE")


def test_a_kind_that_the_library_does_not_recommend_is_for_the_user_to_choose(person: Person) -> None:
    unset = person.but()
    del unset.environment["PYTHON_KEYRING_BACKEND"]
    refused(unset, ("is not one that its library recommends", f"PYTHON_KEYRING_BACKEND={PLAIN_FILE}"))


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ("Forgetful", "did not give back the key"),
        ("Lying", "did not give back the key"),
        ("Refusing", "did not take the key: PasswordSetError (no room for ********)"),
    ],
)
def test_a_keyring_that_does_not_keep_it(person: Person, tmp_path: Path, backend: str, says: str) -> None:
    refused(with_backend(person, tmp_path, backend), (says,), Exit.FAILED).lacks("hunter2")


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ("Forgetful", "has no secrets.json-"),
        ("Lying", "is not a key"),
        ("Locked", "does not answer: KeyringLocked (Failed to unlock the collection!)"),
    ],
)
def test_a_keyring_that_does_not_give_it_back(encrypted: Person, tmp_path: Path, backend: str, says: str) -> None:
    person = with_backend(encrypted, tmp_path, backend)
    person.clm("secret", "list", code=Exit.USAGE).has(says).lacks("hunter2")


def test_one_way_at_a_time(person: Person, tmp_path: Path) -> None:
    said = person.clm("secret", "encrypt", "--keyring", "--key-file", str(tmp_path / "k"), code=Exit.USAGE)
    said.has("Give one of --passphrase-stdin, --key-file, --command or --keyring")
