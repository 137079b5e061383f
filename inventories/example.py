"""
Plain host data, no clm: copy it and change the address.

    umask 077; mkdir -p secrets; openssl rand -hex 32 >secrets/maurice.key
    pyinfra inventories/example.py deploys/hermes.py

Secrets are named, never written here: `pyinfra INVENTORY debug-inventory` prints everything below.
The HERMES_EXAMPLE_* variables let the project's own tests run this very file against a lab host.
"""

import os
from pathlib import Path

from pyinfra_hermes.deploys.hermes import checked as _checked
from pyinfra_hermes.deploys.transport import CONNECT_KWARGS

_HERE = Path(__file__).parent
_SECRETS = os.environ.get("HERMES_EXAMPLE_SECRETS", str(_HERE / "secrets"))

hermes = _checked(
    [
        (
            "wolf-i",
            {
                "ssh_hostname": os.environ.get("HERMES_EXAMPLE_HOST", "192.0.2.10"),
                "ssh_user": os.environ.get("HERMES_EXAMPLE_USER", "root"),
                "ssh_key": os.environ.get("HERMES_EXAMPLE_SSH_KEY", "~/.ssh/id_ed25519"),
                "ssh_known_hosts_file": os.environ.get("HERMES_EXAMPLE_KNOWN_HOSTS", "~/.ssh/known_hosts"),
                "ssh_strict_host_key_checking": "yes",
                "ssh_paramiko_connect_kwargs": CONNECT_KWARGS,
                "hermes_agents": [
                    {
                        "name": "maurice",
                        # Locked wheels, in seconds; without it upstream's own installer, in minutes.
                        "method": "wheel",
                        "provider": {
                            "type": "ollama",
                            "url": os.environ.get("HERMES_EXAMPLE_MODEL_URL", "http://127.0.0.1:11434"),
                            "model": "llama3.1:8b",
                        },
                        "secrets": {"HERMES_API_SERVER_KEY": f"file:{_SECRETS}/maurice.key"},
                    },
                ],
            },
        ),
    ]
)
