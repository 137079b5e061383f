"""Have a host write metrics of its agents, for node_exporter's textfile collector."""

from __future__ import annotations

from pyinfra.api import deploy

from pyinfra_hermes.operations import metrics as operations


@deploy("Metrics of Hermes agents")
def metrics(directory: str = operations.DIRECTORY, present: bool = True) -> None:
    """
    Have a host write metrics of its agents into a file every minute, or stop that.

    + directory: where node_exporter's textfile collector looks
    + present: whether the host should

    **Example:**

    .. code:: python

        from pyinfra_hermes.deploys.metrics import metrics

        metrics(directory="/var/lib/prometheus/node-exporter", _sudo=True)
    """
    operations.metrics_timer(name="metrics every minute", directory=directory, present=present)
