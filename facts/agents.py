"""Everything about the Hermes agents of a host, in one round trip."""

from __future__ import annotations

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

from .observation import Observation, parse
from .script import observe_agents


class HermesAgents(FactBase[Observation | None]):
    """
    Returns the host and every Hermes agent of ours on it, as an
    :class:`pyinfra_hermes.facts.observation.Observation`; ``None`` when the host could not be observed.
    Needs root (``_sudo=True``).

    + names: agents to report on even when there is no trace of them

    Of files only modes, owners and digests leave the host, never their content. An agent's API is asked with
    its own key only when the unit's own process holds the port.

    **Example:**

    .. code:: python

        observed = host.get_fact(HermesAgents, names=("maurice",), _sudo=True)
        observed.agent("maurice").healthy       # True
        observed.agent("maurice").unit.restarts  # 0
        observed.agent("maurice").paths["env"]  # PathState(kind="regular file", mode="600", owner="maurice", ...)
    """

    @staticmethod
    @override
    def default() -> None:
        return None

    @override
    def command(self, names: tuple[str, ...] = ()) -> str:
        return observe_agents(names)

    @override
    def process(self, output: list[str]) -> Observation:
        return _contained(output)


def _contained(output: list[str]) -> Observation:
    # Any other exception would leave the greenlet and end the run for every host.
    try:
        return parse(output)
    except Exception as error:
        raise FactProcessError(f"the observation cannot be read: {type(error).__name__}: {error}") from error
