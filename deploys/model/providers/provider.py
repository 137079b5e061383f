"""What every provider's declaration holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from typing_extensions import override

from ..adapters import Adapter
from ..declaration import Declaration, InvalidSetting, Json, KeyPath, Rendered, Value
from ..probing import Probe
from ..secret import Secret


class InvalidProvider(InvalidSetting):
    """A type of provider that there is not."""


@dataclass(frozen=True, kw_only=True)
class ProviderType(Declaration):
    """
    The declaration of one kind of provider.

    Its secrets lie under ``provider:<name>``, and reach :attr:`render` under their fields' names.
    """

    render: Callable[[Mapping[str, Value], Mapping[str, Secret], Adapter], Rendered]
    #: Leaves of config.yaml that this type may set; those it does not set are removed on a change.
    leaves: tuple[KeyPath, ...]
    #: How it is found out whether the provider can be used.
    probe: Probe

    @property
    @override
    def what(self) -> str:
        return f"Provider type {self.name}"


def model_leaves(provider: str, options: Mapping[str, Value]) -> dict[KeyPath, Json]:
    """Return what every provider sets: its id in Hermes, and the model."""
    return {("model", "provider"): provider, ("model", "default"): str(options["model"])}
