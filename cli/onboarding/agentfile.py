"""An agent as one file: what it says, line by line, and what that makes of the record."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import yaml

from pyinfra_hermes.deploys.model import channels, extras, memory, names, providers
from pyinfra_hermes.deploys.model.declaration import Declaration, Value
from pyinfra_hermes.deploys.model.releases import Method, manifest
from pyinfra_hermes.deploys.model.spec import Hardening

from ..catalogues import channels as agent_channels
from ..catalogues import fields
from ..catalogues.fields import Answers
from ..exits import Exit
from ..installing import install_command
from ..problems import Problem
from ..secrets import checked_reference
from ..state.records import Instance, Memory, Provider, Reference, provider_scope
from ..state.store import State
from ..state.timestamps import now as moment
from . import stages as onboarding
from .stages import ChannelChoices, Deciding, deciding

#: Stands for a secret whose value is in this machine's secrets.json.
KEPT = "kept"

_SECTIONS = (
    "name", "host", "type", "release", "method", "port", "hardening", "provider", "model", "channels", "integrations",
    "memory", "environment", "config",
)  # fmt: skip
#: Keys of an entry that are not its fields.
_OF_ENTRY = {"provider": ("name", "type"), "memory": ("type",)}
_LARGEST = 1_000_000
_MOST_NODES = 20_000
# What nobody writes for another reason: keys of services, tokens, private keys.
_CREDENTIAL = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{16,}|xox[abeprs]-\S{8,}|xapp-\S{8,}|gh[opsu]_\w{20,}|github_pat_\w{20,}|AKIA[0-9A-Z]{16}"
    r"|AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.|[0-9a-f]{64}\b)|-----BEGIN [A-Z ]*PRIVATE KEY"
)

#: Where something is in the file: its keys from the top.
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class AgentFile:
    """
    What a file says of an agent.

    A section that it names is meant as a whole: a channel or an integration that is not in it is turned off, a setting
    that is not in it has its default. A section that it does not name stays as it is on record, and so does a secret.
    """

    #: The file's name, for messages.
    source: str
    data: Mapping[str, Any]
    lines: Mapping[Place, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str) -> AgentFile:
        """Read a file, or standard input for ``-``. Raises :class:`Problem` with the line that is wrong."""
        source = "standard input" if path == "-" else path
        file = cls(source, *_parsed(source, _text(path)))
        file._check()
        return file

    def problem(self, what: object, *place: str | int, remedy: str | None = None) -> Problem:
        """Say what is wrong and on which line."""
        known = next((self.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.lines), None)
        where = f"{self.source} line {known}" if known is not None else self.source
        return Problem(f"{where}: {what}", remedy, Exit.USAGE)

    def text(self, name: str) -> str | None:
        """Return a value of the top that is text."""
        value = self.data.get(name)
        return None if value is None else str(value)

    @property
    def port(self) -> int | None:
        return self.data.get("port")

    def choices(self, instance: Instance) -> ChannelChoices:
        """Return what the file makes of an agent's channels; nothing when it does not name them."""
        if "channels" not in self.data:
            return ChannelChoices()
        wanted = self.data["channels"] or {}
        on = {name: self.answers(channels.channel(name), ("channels", name)) for name in wanted}
        always = {name for name, entry in channels.CATALOGUE.items() if entry.always_on}
        off = [name for name in instance.agent.channels if name not in wanted and name not in always]
        return ChannelChoices(on=on, off=off, anew=True)

    def answers(self, declaration: Declaration, place: Place) -> Answers:
        """Return what an entry's block says, each field in its normal form."""
        block = self._at(place) or {}
        known = {f.name: f for f in declaration.fields}
        found = Answers()
        for name, value in block.items():
            if name in _OF_ENTRY.get(str(place[0]), ()):
                continue
            if name not in known:
                raise self.problem(f"{declaration.what} has no field {name!r}{_close(name, known)}", *place, name)
            if value is None:
                continue
            try:
                if not known[name].secret:
                    found.options[name] = known[name].check(value)
                elif value != KEPT:
                    found.secrets[name] = self.reference(value, *place, name)
            except ValueError as error:
                raise self.problem(error, *place, name) from None
        return found

    def reference(self, value: Any, *place: str | int) -> Reference:
        """Return a reference to a secret; anything else is refused and not repeated."""
        try:
            return checked_reference(value)
        except Problem as problem:
            raise self.problem(problem.message.removeprefix("This is no reference: "), *place) from None

    def _at(self, place: Place) -> Any:
        value: Any = self.data
        for key in place:
            value = value[key]
        return value

    def _check(self) -> None:
        """Check everything that can be without the state."""
        for name in self.data:
            if name not in _SECTIONS:
                raise self.problem(f"unknown key {name!r}{_close(name, _SECTIONS)}", name)
        self._check_no_secrets((), self.data)
        checks = {
            "name": names.agent_name,
            "host": names.host_name,
            "type": lambda value: _one_of(value, ("hermes",)),
            "release": lambda value: manifest().release(value).tag,
            "method": lambda value: _one_of(value, get_args(Method)),
            "port": _port,
            "hardening": lambda value: _one_of(value, get_args(Hardening)),
            "model": names.model_id,
        }
        for name, check in checks.items():
            if self.data.get(name) is not None:
                self._checked(check, self.data[name], name)
        for name, kind in (("channels", dict), ("environment", dict), ("config", dict), ("integrations", list)):
            if self.data.get(name) is not None and not isinstance(self.data[name], kind):
                raise self.problem(f"{name} should be {'a list' if kind is list else 'names with values'}", name)
        for name, block in (self.data.get("channels") or {}).items():
            self._block(block, "channels", name)
            entry = self._checked(channels.channel, name, "channels", name)
            if entry.always_on and block:
                raise self.problem(f"{entry.what} has nothing to set", "channels", name)
            self.answers(entry, ("channels", name))
        for index, name in enumerate(self.data.get("integrations") or []):
            self._checked(names.provider_name, name, "integrations", index)
        self._check_entries()
        self.environment()
        self.config()

    def _check_entries(self) -> None:
        provider, backend = self.data.get("provider"), self.data.get("memory")
        if isinstance(provider, Mapping):
            for name in ("name", "type"):
                if not isinstance(provider.get(name), str):
                    raise self.problem(f"provider lacks its {name}", "provider")
            self._checked(names.provider_name, provider["name"], "provider", "name")
            declaration = self._checked(providers.provider_type, provider["type"], "provider", "type")
            self.answers(declaration, ("provider",))
        elif provider is not None:
            self._checked(names.provider_name, provider, "provider")
        if backend is not None:
            self._block(backend, "memory")
            if not isinstance(backend.get("type"), str):
                raise self.problem("memory lacks its type", "memory")
            self.answers(self._checked(memory.memory_backend, backend["type"], "memory", "type"), ("memory",))

    def _block(self, value: Any, *place: str | int) -> None:
        if value is not None and not isinstance(value, Mapping):
            raise self.problem(f"{place[-1]} should be names with values", *place)

    def _checked(self, check: Any, value: Any, *place: str | int) -> Any:
        try:
            return check(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise self.problem(error, *place) from None

    def _check_no_secrets(self, place: Place, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                self._check_no_secrets((*place, key), inner)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                self._check_no_secrets((*place, index), inner)
        elif isinstance(value, str) and _CREDENTIAL.search(value) and not _is_reference(value):
            raise self.problem(
                "this looks like a secret; a file that is passed on holds references only: env:NAME, file:PATH, "
                "cmd:COMMAND, op://VAULT/ITEM/FIELD, sops:FILE#KEY.PATH",
                *place,
            )

    def environment(self) -> tuple[dict[str, str], dict[str, Reference | None]]:
        """Return the user's variables, plain ones, and secret ones with where they are (None: kept here)."""
        plain: dict[str, str] = {}
        secret: dict[str, Reference | None] = {}
        for name, value in (self.data.get("environment") or {}).items():
            place = ("environment", name)
            self._checked(extras.check_variable, name, *place)
            if isinstance(value, Mapping):
                if set(value) != {"secret"}:
                    raise self.problem(f"{name} should be text, or secret: with a reference", *place)
                secret[name] = None if value["secret"] == KEPT else self.reference(value["secret"], *place, "secret")
            elif isinstance(value, str | int | float):
                if extras.is_credential(name):
                    raise self.problem(f"{name} is a credential: give it as secret: with a reference", *place)
                text = str(value).lower() if isinstance(value, bool) else str(value)
                plain[name] = self._checked(lambda text, name=name: extras.check_plain(name, text), text, *place)
            else:
                raise self.problem(f"{name} should be text, or secret: with a reference", *place)
        return plain, secret

    def config(self) -> dict[str, Any]:
        """Return the user's leaves of config.yaml, by their paths as they are kept."""
        found: dict[str, Any] = {}
        for path, value in (self.data.get("config") or {}).items():
            keys = self._checked(extras.check_path, str(path), "config", path)
            found[extras.path_text(keys)] = self._checked(
                lambda value, keys=keys: extras.check_leaf(keys, value), value, "config", path
            )
        self._checked(lambda paths: extras.check_apart(map(extras.check_path, paths)), list(found), "config")
        return found


def check_fits(file: AgentFile, instance: Instance) -> None:
    """Check that a file is for this agent, as it is installed. Raises :class:`Problem`."""
    agent = instance.agent
    for name, there in (
        ("name", agent.name), ("host", instance.host.name), ("release", agent.release), ("port", agent.port),
        ("method", agent.method),
    ):  # fmt: skip
        wanted = file.data.get(name)
        if name == "release" and wanted is not None:
            wanted = manifest().release(wanted).tag
        if wanted is not None and wanted != there:
            raise file.problem(
                f"the file says {name} {wanted}, and {instance.key} has {there}",
                name,
                remedy=_way_to(instance, name, wanted),
            )


def _way_to(instance: Instance, name: str, wanted: object) -> str | None:
    """Return the command that gives an agent what a file says, None when there is none."""
    agent = instance.agent
    if name in ("release", "method") and agent.applied is not None:
        more = f"--to {wanted}" if name == "release" else f"--to {agent.release} --method {wanted}"
        return f"clm agent upgrade {agent.name} {more}"
    return f"{install_command(instance)} --{name} {wanted}" if name in ("release", "port", "method") else None


def put_on_record(file: AgentFile, state: State, instance: Instance, *, open_access: bool) -> None:
    """Make the record what a file says; what it changes makes the proof void."""
    check_fits(file, instance)
    state.unlock()
    choices = file.choices(instance)
    agent_channels.confirm_opening(instance, choices, open_access)
    with deciding(state, instance) as now:
        record = now.agent
        record.hardening = file.data.get("hardening") or record.hardening
        if file.data.get("provider") is not None:
            _put_provider(file, now)
        elif "model" in file.data:
            record.model = file.data["model"]
        _refuse_missing(file, now)
        if "channels" in file.data:
            onboarding.choose_channels(now, choices)
            agent_channels.refuse_clashes(now.tx, now.instance)
        if "integrations" in file.data:
            wanted = file.data["integrations"] or []
            record.integrations = tuple(now.tx.integration(name).name for name in wanted)
        if "memory" in file.data:
            _put_memory(file, now)
        if "environment" in file.data:
            _put_environment(file, now)
        if "config" in file.data:
            record.config = file.config()


def _put_provider(file: AgentFile, now: Deciding) -> None:
    wanted = file.data["provider"]
    name = str(wanted["name"] if isinstance(wanted, Mapping) else wanted)
    if isinstance(wanted, Mapping):
        _put_provider_itself(file, now, name, str(wanted["type"]))
    onboarding.choose_provider(now, name, None)
    own = now.tx.provider(name).options.get("model")
    model = file.data.get("model")
    now.agent.model = model if model != own else None


def _put_provider_itself(file: AgentFile, now: Deciding, name: str, type_: str) -> None:
    declaration, tx = providers.provider_type(type_), now.tx
    old, scope = tx.providers.get(name), provider_scope(name)
    if old is not None and old.type != type_:
        raise file.problem(f"provider {name!r} on record is of type {old.type}", "provider", "type")
    answers = file.answers(declaration, ("provider",))
    if "model" not in answers.options and isinstance(file.data.get("model"), str):
        answers.options["model"] = file.data["model"]
    kept = onboarding.kept_secrets(tx, scope, declaration)
    for f in declaration.secrets:
        if file.data["provider"].get(f.name) == KEPT and f.name not in kept:
            raise file.problem(
                f"{f.key} of provider {name} is not kept on this machine",
                "provider",
                f.name,
                remedy=f"Give a reference to it in the file, or add the provider first: clm provider add {name}",
            )
    try:
        options = fields.check(declaration, answers, options={}, secrets=kept)
    except ValueError as error:
        raise file.problem(error, "provider") from None
    others = [user.key for user in tx.agents_using_provider(name) if user.key != now.instance.key]
    before = tx.secrets.scopes.get(scope, {}).copy()
    changed = fields.keep_secrets(tx.secrets, scope, declaration, answers)
    if old is None:
        tx.providers[name] = Provider(name=name, type=type_, options=options)
    elif changed or options != old.options:
        if others:
            tx.secrets.scopes[scope] = before
            raise file.problem(
                f"provider {name!r} is another on record, and {', '.join(others)} use it, too",
                "provider",
                remedy=f"Change it for all of them: clm provider edit {name}\n  Or give it another name in the file",
            )
        old.options, old.updated_at = options, moment()
        now.secrets_changed = True


def _put_memory(file: AgentFile, now: Deciding) -> None:
    block = file.data["memory"]
    if block is None:
        now.agent.memory = None
        return
    declaration = memory.memory_backend(block["type"])
    answers = file.answers(declaration, ("memory",))
    kept = onboarding.kept_secrets(now.tx, now.instance.key, declaration)
    try:
        options = fields.check(declaration, answers, options={}, secrets=kept)
    except ValueError as error:
        raise file.problem(error, "memory") from None
    now.agent.memory = Memory(type=declaration.name, options=options)
    now.secrets_changed |= fields.keep_secrets(now.tx.secrets, now.instance.key, declaration, answers)


def _put_environment(file: AgentFile, now: Deciding) -> None:
    plain, secret = file.environment()
    now.agent.environment = plain
    now.agent.secret_environment = tuple(secret)
    for name, reference in secret.items():
        if reference is not None:
            now.secrets_changed |= now.tx.secrets.set(now.instance.key, name, reference)


def _refuse_missing(file: AgentFile, now: Deciding) -> None:
    """Name the command that keeps a secret which the file takes for kept."""
    kept = now.tx.secrets.names(now.instance.key)
    whose = f"{now.instance.host.name}/{now.agent.name}"
    needed: list[tuple[str, Place]] = [(name, ("environment", name)) for name in file.environment()[1]]
    blocks: list[tuple[Declaration, Place]] = [
        (channels.channel(name), ("channels", name)) for name in file.data.get("channels") or {}
    ]
    if file.data.get("memory"):
        blocks.append((memory.memory_backend(file.data["memory"]["type"]), ("memory",)))
    for declaration, place in blocks:
        block: Mapping[str, Value] = file._at(place) or {}
        needed += [
            (f.key, (*place, f.name))
            for f in declaration.secrets
            if block.get(f.name) == KEPT or (f.required and f.name not in block)
        ]
    for key, place in needed:
        if key not in kept:
            raise file.problem(
                f"{key} is needed, and not kept on this machine",
                *place,
                remedy=f"Give a reference to it in the file, or keep it: clm secret set {whose} {key}",
            )


def _text(path: str) -> str:
    import sys
    from pathlib import Path

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Problem(f"{path} cannot be read: {reason}", None, Exit.USAGE) from None
    if len(text) > _LARGEST:
        raise Problem(f"{path} is larger than any agent's file", None, Exit.USAGE)
    return text


def _parsed(source: str, text: str) -> tuple[dict[str, Any], dict[Place, int]]:
    """Read YAML together with the line of each of its values."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or "it is not YAML"
        raise Problem(f"{source}{where}: {what}", None, Exit.USAGE) from None
    lines: dict[Place, int] = {}
    loader = yaml.SafeLoader("")
    count = 0

    def value(node: yaml.Node, place: Place) -> Any:
        nonlocal count
        count += 1
        if count > _MOST_NODES or len(place) > 20:
            raise Problem(f"{source} holds more than any agent's file", None, Exit.USAGE)
        lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key_node, inner in node.value:
                key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else ""
                line = key_node.start_mark.line + 1
                if not key or key in found:
                    what = f"{key!r} is there twice" if key else "a name should be text"
                    raise Problem(f"{source} line {line}: {what}", None, Exit.USAGE)
                lines[*place, key] = line
                found[key] = value(inner, (*place, key))
            return found
        if isinstance(node, yaml.SequenceNode):
            return [value(inner, (*place, index)) for index, inner in enumerate(node.value)]
        try:
            scalar = loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            scalar = node.value
        # A date or a binary is what somebody typed without quotes.
        return scalar if scalar is None or isinstance(scalar, str | int | float) else node.value

    data = value(root, ()) if root is not None else {}
    if not isinstance(data, dict) or not data:
        raise Problem(f"{source} describes no agent; clm agent export AGENT writes such a file", None, Exit.USAGE)
    return data, lines


def _close(name: object, known: Collection[str]) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; there is {', '.join(known)}" if known else ""


def _one_of(value: Any, known: Collection[str]) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return str(value)


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1024 <= value <= 65535:
        raise ValueError(f"Port {value!r} is not between 1024 and 65535")
    return value


def _is_reference(text: str) -> bool:
    try:
        checked_reference(text)
    except Problem:
        return False
    return True
