"""
What of the predecessor's records becomes a record of ours, and what does not and why.

A plan is a function of what was read and of what is on record; nothing is changed here. No text in it holds a
value from ``secrets.json``, and a name is shown only when it has the shape of one: in a file that was edited by
hand it may be a misplaced secret.
"""

from __future__ import annotations

from pathlib import Path

from .clawrium import Source
from .imported_agents import Agents
from .imported_hosts import Hosts
from .imported_integrations import Integrations
from .imported_providers import Providers
from .imported_secrets import say_of_others
from .ledger import Ledger
from .plan import OnRecord, Plan, Wishes


def plan(source: Source, on_record: OnRecord, ours: Path, wishes: Wishes) -> Plan:
    """Say what an import of ``source`` would do to what is on record in our directory."""
    ledger = Ledger(source, on_record)
    providers, integrations = Providers(ledger), Integrations(ledger)
    for number, entry in enumerate(source.providers, 1):
        providers.add(number, entry)
    for number, entry in enumerate(source.integrations, 1):
        integrations.add(number, entry)
    Hosts(ledger, ours, Agents(ledger, wishes, providers, integrations)).add_all()
    say_of_others(ledger)
    return ledger.plan
