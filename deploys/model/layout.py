"""Where everything about an agent lies on its host."""

from __future__ import annotations

from dataclasses import dataclass

#: Releases made of wheels: root-owned, read-only for agents, one folder each, never changed once complete.
RELEASES = "/opt/pyinfra-hermes/releases"

#: Likewise: one folder per tool that integrations need.
TOOLS = "/opt/pyinfra-hermes/tools"

#: The GECOS field of an account that we made. Only root can change it (CHFN_RESTRICT, login.defs(5)), and it is
#: written by the same useradd(8) that makes the account, so there is no moment in which ours is not known as ours.
ACCOUNT_COMMENT = "Hermes agent (pyinfra-hermes)"

#: First line of every file of ours in /etc/systemd/system.
UNIT_HEADER = "# Managed by pyinfra-hermes."

#: All agents of a host together; keeps room for the host itself.
SLICE = "hermes.slice"
SYSTEMD = "/etc/systemd/system"


@dataclass(frozen=True)
class Layout:
    """The paths of one agent."""

    agent: str

    @property
    def home(self) -> str:
        return f"/home/{self.agent}"

    @property
    def hermes_home(self) -> str:
        return f"{self.home}/.hermes"

    @property
    def env(self) -> str:
        return f"{self.hermes_home}/.env"

    @property
    def config(self) -> str:
        return f"{self.hermes_home}/config.yaml"

    @property
    def auth(self) -> str:
        """Hermes' own store of credentials; never written by us but to take copies of old keys out."""
        return f"{self.hermes_home}/auth.json"

    @property
    def credentials(self) -> str:
        """Files with credentials; all that is in it is ours."""
        return f"{self.hermes_home}/credentials"

    @property
    def tokens(self) -> str:
        """Where Hermes keeps the OAuth tokens of MCP servers; of it only what we seeded is ours."""
        return f"{self.hermes_home}/mcp-tokens"

    @property
    def memories(self) -> str:
        return f"{self.hermes_home}/memories"

    @property
    def code(self) -> str:
        """A link to the release that the agent is to run."""
        return f"{self.hermes_home}/code"

    @property
    def releases(self) -> str:
        """Releases that upstream's installer made, one folder each: the agent's own, so root never runs them."""
        return f"{self.hermes_home}/releases"

    @property
    def service(self) -> str:
        return f"hermes-{self.agent}.service"

    @property
    def unit(self) -> str:
        return f"{SYSTEMD}/{self.service}"


def is_shared(release_id: str) -> bool:
    """Tell whether all agents of a host share a release: those made of wheels are, an installer makes one per agent."""
    return "-installer-" not in release_id


def release_directory(agent: str, release_id: str) -> str:
    """
    Return the folder of a release that an agent runs; its programs are in ``venv/bin`` there.

    Where it is not shared the agent may change it: what is in it is run as the agent, never as root.
    """
    return f"{RELEASES if is_shared(release_id) else Layout(agent).releases}/{release_id}"
