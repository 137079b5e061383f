"""What differs between ranges of Hermes releases, as data: one adapter per range, named by each row of the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: A behaviour that some releases have and others lack. All were found by running the releases, or in their wheels.
#:
#: - `openai-api`: knows the provider id `openai-api`; without it OpenAI is a `custom` URL with a key of its own
#: - `vertex`: knows the provider id `vertex` (Google Cloud), and the lock holds what it needs
#: - `bedrock-bearer-claude`: Claude on Bedrock works with a bearer token; without it the daemon wants an access key
#: - `azure-entra`: `azure-foundry` can sign in with `model.auth_mode: entra_id`, and the lock holds what it needs
#: - `plugin-platforms`: the wheel's plugins load: Teams, Google Chat, LINE, IRC
#: - `whatsapp-cloud`: WhatsApp through Meta's API (`WHATSAPP_CLOUD_*`), without a bridge in Node
#: - `env-beats-config`: the gateway believes `HERMES_INFERENCE_PROVIDER` and not `model.provider`
#: - `auth-json-keeps-keys`: copies keys of providers into `auth.json` and keeps them after a switch
#: - `key-required`: the API server refuses to start without `API_SERVER_KEY`; without it, loopback is served openly
#: - `health-detailed-needs-key`: `/health/detailed` answers 401 without the key
Feature = Literal[
    "openai-api",
    "vertex",
    "bedrock-bearer-claude",
    "azure-entra",
    "plugin-platforms",
    "whatsapp-cloud",
    "env-beats-config",
    "auth-json-keeps-keys",
    "key-required",
    "health-detailed-needs-key",
]


@dataclass(frozen=True)
class Installer:
    """
    How upstream's ``scripts/install.sh`` of a range of releases is called.

    + flags: its arguments; ``{tag}``, ``{hermes_home}`` and ``{directory}`` stand for what they say
    + tools: programs that it needs on the host, each with the Debian package that brings it
    """

    flags: tuple[str, ...]
    tools: Mapping[str, str]

    def arguments(self, tag: str, hermes_home: str, directory: str) -> tuple[str, ...]:
        """Return its arguments for one agent and release."""
        return tuple(flag.format(tag=tag, hermes_home=hermes_home, directory=directory) for flag in self.flags)


@dataclass(frozen=True)
class Adapter:
    """
    How to treat a range of releases.

    + name: version of hermes-agent that the range begins with
    + features: what these releases have
    + installer: how their installer is called
    """

    name: str
    features: frozenset[Feature]
    installer: Installer

    def has(self, feature: Feature) -> bool:
        """Tell whether releases of this range have ``feature``."""
        return feature in self.features


_FLAGS = ("--skip-setup", "--branch", "{tag}", "--hermes-home", "{hermes_home}", "--dir", "{directory}")
# Node comes as a .tar.xz where the host has none.
_NEEDS = {"git": "git", "xz": "xz-utils", "bash": "bash", "tar": "tar"}
_INSTALLER_0_13 = Installer(_FLAGS, _NEEDS)
# A browser takes minutes and hangs at times, and lacks libraries that only root could bring.
_INSTALLER_0_15 = Installer((*_FLAGS, "--skip-browser"), _NEEDS)

_ADAPTERS = (
    Adapter("0.13", frozenset({"env-beats-config", "auth-json-keeps-keys"}), _INSTALLER_0_13),
    Adapter("0.15", frozenset({"openai-api", "azure-entra", "plugin-platforms", "key-required"}), _INSTALLER_0_15),
    Adapter(
        "0.18",
        frozenset(
            {
                "openai-api",
                "vertex",
                "azure-entra",
                "plugin-platforms",
                "whatsapp-cloud",
                "key-required",
                "health-detailed-needs-key",
            }
        ),
        _INSTALLER_0_15,
    ),
    Adapter(
        "0.19",
        frozenset(
            {
                "openai-api",
                "vertex",
                "bedrock-bearer-claude",
                "azure-entra",
                "plugin-platforms",
                "whatsapp-cloud",
                "key-required",
                "health-detailed-needs-key",
            }
        ),
        _INSTALLER_0_15,
    ),
)

#: Every adapter, by name.
ADAPTERS: Mapping[str, Adapter] = {adapter.name: adapter for adapter in _ADAPTERS}
