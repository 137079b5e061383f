"""Take the agents in a host's data off the host and leave the record alone: makes room for the next round."""

from pyinfra import host

from pyinfra_hermes.deploys.remove import remove

for _row in host.data.hermes_agents:
    remove(_row["name"], _sudo=True)
