"""Memory backends (``memory.provider``), one declaration each; an agent has one of them or none."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..declaration import Field, Value
from .backend import InvalidMemory, MemoryBackend

_HOLOGRAPHIC = ("plugins", "hermes-memory-store")


def _key(variable: str, required: bool = True, help: str = "of your account") -> Field:
    return Field("api_key", "API key", "secret", help, required=required, variable=variable)


def _key_or_url(options: Mapping[str, Value], secrets: Collection[str]) -> None:
    if "url" not in options and "api_key" not in secrets:
        raise InvalidMemory("Memory backend honcho lacks its API key, or the URL of a server of your own")


def _cloud_or_own(options: Mapping[str, Value], secrets: Collection[str]) -> None:
    if options["mode"] == "cloud" and "api_key" not in secrets:
        raise InvalidMemory("Memory backend hindsight lacks its API key")
    if options["mode"] == "local_external" and "url" not in options:
        raise InvalidMemory("Memory backend hindsight needs the URL of your server (url)")


# Mem0 is not among them: no lock holds its package, which brings numpy, a vector database and gRPC along.
_BACKENDS = (
    MemoryBackend(
        name="holographic",
        title="Holographic: facts in a database of the agent's own",
        fields=(
            Field(
                "auto_extract", "Extract facts", "flag", "at the end of each session; no when not given", required=False
            ),
            Field(
                "temporal_decay_half_life",
                "Half-life",
                "integer",
                "days until a fact counts half; 0, never, when not given",
                required=False,
                between=(0, 36500),
            ),
        ),
        credential_url="https://hermes-agent.nousresearch.com/docs/user-guide/features/memory-providers",
        leaves={
            "auto_extract": (*_HOLOGRAPHIC, "auto_extract"),
            "temporal_decay_half_life": (*_HOLOGRAPHIC, "temporal_decay_half_life"),
        },
    ),
    MemoryBackend(
        name="honcho",
        title="Honcho: a model of the user, by Plastic Labs or on a server of one's own",
        fields=(
            _key("HONCHO_API_KEY", required=False, help="of your account; not needed on a server of your own"),
            Field("url", "URL", "url", "of a server of your own", required=False, variable="HONCHO_BASE_URL"),
        ),
        credential_url="https://app.honcho.dev",
        package="honcho-ai",
        rule=_key_or_url,
    ),
    MemoryBackend(
        name="openviking",
        title="OpenViking: a context database on a server of one's own",
        fields=(
            Field("url", "URL", "url", "of the server", variable="OPENVIKING_ENDPOINT"),
            _key("OPENVIKING_API_KEY", required=False, help="where the server wants one"),
            Field(
                "account", "Account", "text", "default when not given", required=False, variable="OPENVIKING_ACCOUNT"
            ),
            Field("user", "User", "text", "default when not given", required=False, variable="OPENVIKING_USER"),
            Field("agent", "Agent", "text", "hermes when not given", required=False, variable="OPENVIKING_AGENT"),
        ),
        credential_url="https://github.com/volcengine/OpenViking",
    ),
    MemoryBackend(
        name="hindsight",
        title="Hindsight: a knowledge graph, in its cloud or on a server of one's own",
        fields=(
            Field(
                "mode",
                "Mode",
                "choice",
                "its cloud, or a server of your own",
                required=False,
                default="cloud",
                choices=("cloud", "local_external"),
                variable="HINDSIGHT_MODE",
            ),
            _key("HINDSIGHT_API_KEY", required=False, help="of your account; a server of your own may need none"),
            Field("url", "URL", "url", "of a server of your own", required=False, variable="HINDSIGHT_API_URL"),
            Field("bank", "Memory bank", "text", "hermes when not given", required=False, variable="HINDSIGHT_BANK_ID"),
            Field(
                "budget",
                "Thoroughness",
                "choice",
                "of recalling; mid when not given",
                required=False,
                choices=("low", "mid", "high"),
                variable="HINDSIGHT_BUDGET",
            ),
        ),
        credential_url="https://ui.hindsight.vectorize.io",
        package="hindsight-client",
        rule=_cloud_or_own,
    ),
    MemoryBackend(
        name="retaindb",
        title="RetainDB: a memory service",
        fields=(
            _key("RETAINDB_API_KEY"),
            Field("url", "URL", "url", "of a server of your own", required=False, variable="RETAINDB_BASE_URL"),
            Field(
                "project",
                "Project",
                "text",
                "one per profile when not given",
                required=False,
                variable="RETAINDB_PROJECT",
            ),
        ),
        credential_url="https://retaindb.com",
    ),
    MemoryBackend(
        name="byterover",
        title="ByteRover: a knowledge tree kept by its program brv, which must be on the host",
        fields=(_key("BRV_API_KEY", required=False, help="for its cloud; it works without, too"),),
        credential_url="https://app.byterover.dev",
        commands=("brv",),
    ),
    MemoryBackend(
        name="supermemory",
        title="Supermemory: a memory service",
        fields=(
            _key("SUPERMEMORY_API_KEY"),
            Field(
                "container",
                "Container tag",
                "text",
                "hermes when not given",
                required=False,
                variable="SUPERMEMORY_CONTAINER_TAG",
            ),
        ),
        credential_url="https://console.supermemory.ai",
        package="supermemory",
    ),
)

#: Every memory backend, by name.
CATALOGUE: Mapping[str, MemoryBackend] = {entry.name: entry for entry in _BACKENDS}


def memory_backend(name: str) -> MemoryBackend:
    """Return the declaration of a backend, or raise :class:`InvalidMemory` with the backends there are."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise InvalidMemory(f"Invalid memory backend {name!r}. Valid backends: {', '.join(CATALOGUE)}") from None


__all__ = ["CATALOGUE", "InvalidMemory", "MemoryBackend", "memory_backend"]
