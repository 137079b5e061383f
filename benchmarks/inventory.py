"""The one host of a comparison, for plain pyinfra: which it is, and over which transport, the environment says."""

import os

from pyinfra_hermes.cli.inventory import fleet as _fleet

_transport = os.environ.get("BENCHMARK_TRANSPORT", "tuned")
_name = os.environ["BENCHMARK_HOST"]


def _host() -> tuple[str, dict[str, object]]:
    [data] = [data for name, data in _fleet() if name == _name]
    data["hermes_chat"] = False
    data["_sudo"] = True
    if _transport == "plain":
        # As pyinfra comes; the host's key is still checked.
        del data["ssh_paramiko_connect_kwargs"]
    return _name, data


hermes = [_host()]
