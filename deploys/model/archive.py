"""What a backup of an agent holds: its manifest, the rules of what is taken along, and which paths are believed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

#: Raised when something that a reader must know is added.
FORMAT = 1
KIND = "hermes-agent-backup"
#: The first member of every archive.
MANIFEST = "manifest.json"
#: Where everything else of an archive lies: the folder ``~/.hermes``, and the secrets on record.
HOME, SECRETS = "hermes", "secrets.json"

#: The most that an agent's home may hold of what is taken along.
MOST_BYTES = 16 << 30
MOST_FILES = 500_000
MOST_DEPTH = 64
#: The latest time of a file, in seconds since the epoch, and the highest schema of a ``state.db``.
LATEST, MOST_SCHEMA = 1 << 40, 1 << 30

#: At the top of ``~/.hermes`` (and of each of its profiles): what is made anew, or is the host's and not the agent's.
_LEFT_OUT_AT_TOP = (
    "code", "releases", "hermes-agent", "node", "bin", "optional-skills", "optional-mcps", ".local", ".npm-global",
    "go", "tmp", "logs", "*.log", "cache", "*_cache", "temp_*", "checkpoints", "backups", "state", "chrome-debug",
    ".gitignore", "gateway.pid", "cron.pid", "processes.json", "gateway_state.json", ".clean_shutdown",
    ".restart_*", ".update_*", ".tirith-install-failed", ".skills_prompt_snapshot.json", ".install_method",
    ".managed", ".container-mode", "models_cache.json", "*_models_cache.json", "models_dev_cache.json",
    "context_length_cache.yaml", "sticker_cache.json", ".clm-*",
)  # fmt: skip
#: Anywhere: locks, and trees that a program makes anew. What upstream's own backup leaves out is among these.
_LEFT_OUT_ANYWHERE = (
    "*.lock", "*.pyc", "*.pyo", "__pycache__", "node_modules", ".venv", "venv", "site-packages", ".cache", ".tox",
    ".nox", ".pytest_cache", ".mypy_cache", ".ruff_cache", "ticker_heartbeat", "ticker_last_success",
)  # fmt: skip
#: Credentials: taken along when asked only. Upstream's own lists (gateway/platforms/base.py, agent/file_safety.py).
_SECRET = (
    ".env", ".env.*", "auth.json", "auth", ".anthropic_oauth.json", "credentials", "mcp-tokens", "slack_tokens.json",
    "google_token.json", "google_oauth_pending.json", "google_chat_user_*", "webhook_subscriptions.json", "honcho.json",
    "mem0.json", "byterover", ".brv-cli", "whatsapp", "weixin", "matrix", "pairing", "platforms/whatsapp",
    "platforms/weixin", "platforms/matrix", "platforms/pairing", ".ssh", ".netrc",
)  # fmt: skip

_SHA256 = re.compile(r"[0-9a-f]{64}")


def rules() -> dict[str, Any]:
    """Return what is taken along and what not, for the scripts that run on hosts."""
    return {
        "top": _LEFT_OUT_AT_TOP,
        "anywhere": _LEFT_OUT_ANYWHERE,
        "secret": _SECRET,
        "most_bytes": MOST_BYTES,
        "most_files": MOST_FILES,
        "most_depth": MOST_DEPTH,
    }


class BadManifest(ValueError):
    """A manifest that cannot be believed; the text says why."""


class NewerFormat(BadManifest):
    """An archive that a later version made."""


@dataclass(frozen=True)
class Entry:
    """A file or a folder in an archive; ``path`` is relative to ``~/.hermes``."""

    path: str
    kind: Literal["file", "directory"]
    #: Permission bits; set-id and sticky bits are not taken along.
    mode: int
    size: int = 0
    sha256: str | None = None
    #: Seconds since the epoch.
    modified: int = 0

    def __post_init__(self) -> None:
        """Refuse what no backup of ours has."""
        if not is_safe(self.path):
            raise BadManifest("it names a path that leads elsewhere")
        if self.kind not in ("file", "directory") or not _is_int(self.mode, 0o777):
            raise BadManifest(f"{self.path} has no such kind or mode")
        if not _is_int(self.size, MOST_BYTES) or not _is_int(self.modified, LATEST):
            raise BadManifest(f"{self.path} has no such size or time")
        if (self.kind == "file") != (isinstance(self.sha256, str) and bool(_SHA256.fullmatch(self.sha256))):
            raise BadManifest(f"{self.path} has no digest")


@dataclass(frozen=True)
class Skipped:
    """Something that was not taken along though no rule leaves it out: a link, a device, an odd name."""

    path: str
    why: str


@dataclass(frozen=True)
class Manifest:
    """What an archive is of, and what it holds."""

    agent: str
    host: str
    release: str
    #: As ``hermes --version`` has it; None when the host could not tell.
    hermes_version: str | None
    #: Schema of state.db; None when there is none.
    schema: int | None
    #: RFC 3339.
    created_at: str
    created_by: str
    #: Whether the agent was stopped while it was made.
    stopped: bool
    with_secrets: bool
    #: The agent's record, which holds no secret.
    record: Mapping[str, Any]
    #: Paths in its config.yaml that we set.
    leaves: tuple[tuple[str, ...], ...] = ()
    skipped: tuple[Skipped, ...] = ()
    entries: tuple[Entry, ...] = ()
    #: What follows the manifest in the file, compressed.
    payload_size: int = 0
    payload_sha256: str = "0" * 64
    format: int = field(default=FORMAT)

    def encode(self) -> bytes:
        """Return the manifest as it stands in the archive."""
        plain = {"kind": KIND, **asdict(self)}
        return (json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.entries)

    @classmethod
    def parse(cls, content: bytes) -> Manifest:
        """Read a manifest. Raises :class:`BadManifest`, and :class:`NewerFormat` for one of a later version."""
        try:
            plain = json.loads(content)
        except (ValueError, RecursionError):
            raise BadManifest("it is not JSON") from None
        if not isinstance(plain, dict) or plain.pop("kind", None) != KIND or not _is_int(plain.get("format"), 1 << 30):
            raise BadManifest("it is of something else")
        if plain["format"] > FORMAT:
            raise NewerFormat(f"its format is {plain['format']}, and this version knows up to {FORMAT}")
        try:
            plain["entries"] = tuple(Entry(**row) for row in plain["entries"])
            plain["skipped"] = tuple(Skipped(**row) for row in plain["skipped"])
            plain["leaves"] = tuple(tuple(leaf) for leaf in plain["leaves"])
            manifest = cls(**plain)
        except BadManifest:
            raise
        except (TypeError, KeyError, ValueError, AttributeError):
            raise BadManifest("it has not the fields of its format") from None
        manifest._check()
        return manifest

    def _check(self) -> None:
        texts = [self.agent, self.host, self.release, self.created_at, self.created_by]
        optional = [text for text in (self.hermes_version,) if text is not None]
        if not all(isinstance(text, str) and text.isprintable() and len(text) < 256 for text in texts + optional):
            raise BadManifest("it has not the fields of its format")
        if not isinstance(self.record, Mapping) or not isinstance(self.with_secrets, bool):
            raise BadManifest("it has not the fields of its format")
        if self.schema is not None and not _is_int(self.schema, MOST_SCHEMA):
            raise BadManifest("it has not the fields of its format")
        if not _SHA256.fullmatch(str(self.payload_sha256)) or not _is_int(self.payload_size, 1 << 50):
            raise BadManifest("it has not the fields of its format")
        if not all(isinstance(part, str) for leaf in self.leaves for part in leaf):
            raise BadManifest("it has not the fields of its format")
        _check_tree(self.entries)


def _check_tree(entries: Sequence[Entry]) -> None:
    if len(entries) > MOST_FILES or sum(entry.size for entry in entries) > MOST_BYTES:
        raise BadManifest("it is of more than a backup may hold")
    kinds: dict[str, str] = {}
    for entry in entries:
        parent = entry.path.rpartition("/")[0]
        if entry.path in kinds or (parent and kinds.get(parent) != "directory"):
            raise BadManifest(f"{entry.path} is there twice, or before the folder that it is in")
        kinds[entry.path] = entry.kind


def is_safe(path: object) -> bool:
    """Tell whether a path stays below the folder that it is relative to, and can be shown."""
    if not isinstance(path, str) or not path or len(path) > 4096 or not path.isprintable():
        return False
    parts = path.split("/")
    return len(parts) <= MOST_DEPTH and all(part not in ("", ".", "..") and len(part) <= 255 for part in parts)


def _is_int(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
