"""What a host is and has, for the preflight."""

from __future__ import annotations

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

from .observation import HostState, parse
from .script import observe_host


class HermesHost(FactBase[HostState | None]):
    """
    Returns what a host is and has, as an :class:`pyinfra_hermes.facts.observation.HostState`. Needs no
    privileges.

    **Example:**

    .. code:: python

        found = host.get_fact(HermesHost)
        found.os, found.os_version, found.arch  # ("debian", "12", "x86_64")
        found.tools                             # {"rg": "/usr/bin/rg", "python3": "/usr/bin/python3", ...}
        found.free_mib["/opt"]                  # 51234
    """

    @staticmethod
    @override
    def default() -> None:
        return None

    @override
    def command(self) -> str:
        return observe_host()

    @override
    def process(self, output: list[str]) -> HostState:
        try:
            return parse(output).host
        except Exception as error:
            raise FactProcessError(f"the host's answer cannot be read: {type(error).__name__}: {error}") from error
