"""Programs that integrations need on a host: pinned, each a hash lock that becomes a read-only environment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

from ..layout import TOOLS


@dataclass(frozen=True)
class Tool:
    """
    One pinned package with everything that it needs.

    A host has it once, owned by root, for all of its agents. Its programs are started by their path: nothing is
    fetched, resolved or written when a daemon starts, which `uvx` would do each time.
    """

    name: str
    version: str
    #: Digest of the lock beside this module, which also holds the uv that installs it.
    lock_sha256: str
    programs: tuple[str, ...]

    @property
    def tag(self) -> str:
        """What it is called beside the releases of Hermes, in messages and names of files."""
        return f"{self.name}-{self.version}"

    @property
    def id(self) -> str:
        """Name of its folder on a host. Another lock is another tool, so it has another folder."""
        return f"{self.tag}-{self.lock_sha256[:8]}"

    @property
    def source(self) -> None:
        """Its wheels lack nothing."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """What the lock is resolved from: the package, and uv, which installs it on the host."""
        return tuple(dict.fromkeys((f"{self.name}=={self.version}", "uv==0.13.9")))

    def program(self, name: str) -> str:
        """Return the path of one of its programs on a host."""
        assert name in self.programs
        return f"{TOOLS}/{self.id}/venv/bin/{name}"

    def requirements(self) -> str:
        """Return the lock's text, checked against its digest."""
        text = resources.files(__name__).joinpath(f"{self.name}.lock").read_text(encoding="utf-8")
        actual = hashlib.sha256(text.encode()).hexdigest()
        if actual != self.lock_sha256:
            raise ValueError(f"{self.name}.lock: sha256 is {actual}, not {self.lock_sha256}")
        return text


MCP_ATLASSIAN = Tool(
    name="mcp-atlassian",
    version="0.23.1",
    lock_sha256="11617e463866e9a6798ef60fad59dfa98562bc5327dd72b95798487dfad98b41",
    programs=("mcp-atlassian",),
)
UV = Tool(
    name="uv",
    version="0.13.9",
    lock_sha256="d4324bc1b298cd45a22104f242a2cbaf77b721ea4682efd505d7feab9d99d97b",
    programs=("uv", "uvx"),
)

#: Every tool, by name.
CATALOGUE = {tool.name: tool for tool in (MCP_ATLASSIAN, UV)}
