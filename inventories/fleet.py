"""
What `clm` knows, for plain pyinfra: the same agents, the same deploys.

    pyinfra inventories/fleet.py deploys/hermes.py

Read from the state directory at each run. No secret is in host data: the deploy asks for it when it needs it.
"""

from pyinfra_hermes.cli.inventory import fleet as _fleet

hermes = _fleet()
