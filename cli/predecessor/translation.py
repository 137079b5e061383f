"""Values in the predecessor's files as values of ours: in the shape that ours have, or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from pyinfra_hermes.deploys.model import dotenv, names, providers
from pyinfra_hermes.deploys.model.channels import Channel
from pyinfra_hermes.deploys.model.declaration import Field, InvalidSetting
from pyinfra_hermes.deploys.model.secret import Secret

from ..state.records import API_SERVER_KEY, FIRST_PORT, Agent, AgentStatus, Host, Plain, SecretEntry, Stage, StageResult
from ..state.timestamps import now

Setting = Plain | list[str]

#: Names of a provider's fields in the predecessor's files.
_FIELDS = {"url": "endpoint", "model": "default_model", "region": "region", "context_length": "context_window"}
#: Beginnings of values that stand for something kept elsewhere; theirs never did.
_REFERENCES = ("cmd:", "env:", "file:", "op://", "sops:")
_LONGEST_VALUE = 1 << 16
_SETTINGS = frozenset(
    [
        "allowed_users",
        "allow_all_users",
        "home_channel",
        "home_channel_name",
        "home_channel_thread_id",
        "allowed_channels",
        "allowed_guilds",
        "require_mention",
        "stream_mode",
        "stream_delay_ms",
    ]
)
#: Settings without which a channel would do more than it did.
_LIMITS = ("allowed_channels",)
_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_TITLE = re.compile(r"[A-Za-z0-9 _\-./#]{1,64}")


def options(declaration: providers.ProviderType, entry: Mapping[str, Any]) -> tuple[dict[str, Plain], str | None]:
    """Return a provider's options, or the problem with them. What it can do without and does not fit is left out."""
    options: dict[str, Plain] = {}
    for f in declaration.fields:
        value = entry.get(_FIELDS.get(f.name, f.name))
        if f.secret:
            continue
        if value is None or value == "":
            if f.required and f.default is None:
                return {}, f"it has no {f.label}"
            continue
        if not isinstance(value, str | int) or isinstance(value, bool):
            return {}, f"its {f.label} is neither text nor a number"
        try:
            options[f.name] = f.check(value)
        except InvalidSetting as error:
            if not f.required:
                continue
            # What quotes the value may quote a key that somebody put into it.
            said = str(error)
            return {}, said if not any(quote in said for quote in "'\"") else f"its {f.label} cannot be used here"
    try:
        return declaration.options(options), None
    except InvalidSetting:
        return {}, f"its settings are not those of type {declaration.name}"


def left_out(declaration: providers.ProviderType, entry: Mapping[str, Any]) -> list[str]:
    """Name the settings of theirs that :func:`options` leaves out."""
    taken = options(declaration, entry)[0]
    theirs = {f: entry.get(_FIELDS.get(f.name, f.name)) for f in declaration.fields if not f.secret}
    return [f.label for f, value in theirs.items() if value not in (None, "") and f.name not in taken]


def secret(key: str, entry: object) -> SecretEntry | str:
    """Read a secret of theirs; why not, when it cannot be taken over unchanged."""
    value = value_of(entry)
    if not isinstance(entry, dict) or value is None:
        return "has no value"
    if not value:
        return "is empty"
    if len(value) > _LONGEST_VALUE:
        return "is too long"
    if key == API_SERVER_KEY and not names.is_api_server_key(value):
        return "is not 64 lowercase hexadecimal digits"
    if value.startswith(_REFERENCES):
        return "begins like a reference to a secret that is kept elsewhere"
    try:
        dotenv.check(key, value)
    except dotenv.CannotEncode as error:
        return str(error).removeprefix(f"{key} ")
    created = moment(entry.get("created_at")) or now()
    description = entry.get("description")
    try:
        return SecretEntry(
            value=Secret(value),
            created_at=created,
            updated_at=moment(entry.get("updated_at")) or created,
            description=description if isinstance(description, str) and is_text(description) else "",
        )
    except ValidationError:
        pass
    return "cannot be recorded"


def value_of(entry: object) -> str | None:
    value = entry.get("value") if isinstance(entry, dict) else None
    return value if isinstance(value, str) else None


def is_text(value: str) -> bool:
    return len(value) <= 1024 and value.isprintable()


def status(status: object) -> tuple[AgentStatus, str | None]:
    # Their error texts come from a playbook's output and may hold anything, so none of it is taken over.
    if status == "installed":
        return "installed", None
    if status == "installing":
        return "failed", "clawrium did not finish its installation"
    return "failed", "its installation by clawrium failed"


def onboarding(agent: Agent, data: Mapping[str, Any]) -> dict[Stage, StageResult]:
    """Take over what was chosen. What was proven is not: nothing on the host is ours yet."""
    if agent.provider is None or agent.status != "installed":
        return {}
    theirs = data["onboarding"] if isinstance(data.get("onboarding"), dict) else {}
    stages = theirs["stages"] if isinstance(theirs.get("stages"), dict) else {}
    results: dict[Stage, StageResult] = {}
    detail: dict[Stage, dict[str, Plain]] = {
        "providers": {"provider": agent.provider},
        "identity": {},
        "channels": {"channels": ", ".join(agent.channels)},
    }
    for stage, known in detail.items():
        given = stages[stage] if isinstance(stages.get(stage), dict) else {}
        at = moment(given.get("completed_at")) or now()
        results[stage] = StageResult(status="skipped" if stage == "identity" else "done", at=at, detail=known)
    return results


def settings(given: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the settings of a channel that have a known name and a shape that no credential has."""
    found: dict[str, Setting] = {}
    for name in sorted(_SETTINGS & given.keys()):
        value = given[name]
        pattern = _TITLE if name == "home_channel_name" else _ID
        if isinstance(value, list):
            if good := [each for each in texts(value) if pattern.fullmatch(each)]:
                found[name] = good
        elif (isinstance(value, int) and abs(value) < 1 << 63) or (isinstance(value, str) and pattern.fullmatch(value)):
            found[name] = value
    return found


def channel(declaration: Channel, given: Mapping[str, Any]) -> tuple[dict[str, Setting], list[str], str | None]:
    """
    Return a channel's options, notes on what is not as it was, and why the channel cannot be taken over, if so.

    Nobody is let in who was not: what let everybody in is left out, and without a limit that it had a channel stays.
    """
    safe, fields = settings(given), {f.name: f for f in declaration.fields if not f.secret}
    options: dict[str, Setting] = {}
    lost: list[str] = []
    notes: list[str] = []
    for name in sorted(_SETTINGS & given.keys()):
        theirs = given[name]
        if theirs in (None, "", [], {}, False) and name not in ("require_mention", "allow_all_users"):
            continue
        if name == "allow_all_users":
            if theirs not in (None, False, ""):
                notes.append("it was open to everybody and is not here: --allow-all-users opens it again")
            continue
        value, whole = _fitting(fields.get(name), safe.get(name), theirs)
        if value is not None:
            options[name] = value
        elif name in _LIMITS and theirs != ["*"]:
            return {}, [], f"its {name} cannot be taken over, and without them it would answer anywhere"
        if not whole and theirs is not None and theirs != ["*"]:
            lost.append(name)
    if lost:
        notes.append(f"not, or not all of, its {', '.join(lost)}")
    return options, notes, None


def _fitting(f: Field | None, value: Setting | None, theirs: object) -> tuple[Setting | None, bool]:
    """Return what of a value a field can have, and whether that is all of it."""
    if f is None or value is None:
        return None, False
    if isinstance(value, list) != (f.kind == "list"):
        value = [str(value)] if f.kind == "list" and isinstance(value, str) else None
    if value is None:
        return None, False
    items = value if isinstance(value, list) else [value]
    good: list[Any] = []
    for item in items:
        try:
            good.append(f.check([item] if isinstance(value, list) else item))
        except (InvalidSetting, names.InvalidName):
            continue
    if not isinstance(value, list):
        return (good[0], True) if good else (None, False)
    flat = list(dict.fromkeys(each for one in good for each in one))
    return flat or None, len(good) == (len(theirs) if isinstance(theirs, list) else 1)


def ids(entry: Mapping[str, Any]) -> list[str]:
    """Return everything that a host's secrets may have been kept under, the newest form first."""
    addresses = [each.get("address") for each in objects(entry.get("addresses"))]
    ids = (entry.get("key_id"), entry.get("hostname"), entry.get("alias"), *addresses)
    return list(dict.fromkeys(one for one in ids if isinstance(one, str) and one))


def free_port(port: int | None, taken: set[int], asked: Iterable[int | None]) -> tuple[int, str | None]:
    wanted = port or FIRST_PORT
    if wanted not in taken and (port is not None or wanted not in asked):
        return wanted, None
    others = taken | {each for each in asked if each is not None}
    free = next(each for each in range(FIRST_PORT, 65536) if each not in others)
    if port is None:
        return free, f"it had no port that can be used, and gets {free}"
    return free, f"port {port} is another agent's on this host, so it gets {free}"


def port_of(data: Mapping[str, Any]) -> int | None:
    config = data.get("config")
    api = config.get("api_server") if isinstance(config, dict) else None
    port = api.get("port") if isinstance(api, dict) else None
    return port if is_port(port) and isinstance(port, int) and port >= 1024 else None


def is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def is_hermes(key: str, data: object) -> bool:
    return isinstance(data, dict) and (data.get("type") or key) == "hermes"


def agent_name(key: str, data: object) -> str | None:
    name = key
    if isinstance(data, dict):
        name = data.get("agent_name") or data.get("name") or key
    known: str | None = checked(names.agent_name, name)
    return known


def shown_agent(key: str, data: object) -> str:
    return agent_name(key, data) or agent_name(key, None) or "(a name not shown)"


def checked(check: Any, value: object) -> Any:
    """Return what a rule of :mod:`names` makes of a value; None when it is refused."""
    if not isinstance(value, str):
        return None
    try:
        return check(value)
    except names.InvalidName:
        return None


def host_name(value: object) -> str | None:
    name: str | None = checked(names.host_name, value)
    return name


def provider_name(value: object) -> str | None:
    name: str | None = checked(names.provider_name, value)
    return name


def where(host: Host) -> tuple[str, int]:
    return host.address, host.port


def moment(value: object) -> datetime | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def parts(value: object) -> list[dict[str, Any]]:
    return objects(list(value.values())) if isinstance(value, dict) else []
