"""
The same agent with pyinfra's own operations, as somebody would write it who knows pyinfra well.

The release is installed already. What the files say comes from our renderer, so that both ways end with the same
bytes, modes and owners; only the way there differs. Run by the benchmarks: ``pyinfra inventory.py stock.py -y``.

What it does not do: check the host, prove that the agent answers, keep what others wrote into ``config.yaml``, refuse
an account that it did not make. And pyinfra's ``files.put`` under sudo leaves a copy of ``.env`` in /tmp for a moment.
"""

from io import StringIO

import yaml
from pyinfra import host
from pyinfra.operations import files, server, systemd

from pyinfra_hermes.deploys.model.layout import ACCOUNT_COMMENT, release_directory
from pyinfra_hermes.deploys.model.render import Files, render
from pyinfra_hermes.deploys.model.spec import AgentSpec


def _nested(leaves: dict[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for path, value in leaves.items():
        *folders, leaf = path.split(".")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})  # type: ignore[assignment]
        node[leaf] = value
    return tree


def agent(name: str, rendered: Files) -> None:
    """Take one agent from an installed release to a started service, in eight steps."""
    paths = rendered.paths
    server.user(
        name="1 account", user=name, home=paths.home, shell="/usr/sbin/nologin", system=True,
        create_home=True, comment=ACCOUNT_COMMENT,
    )  # fmt: skip
    for number, folder in enumerate((paths.home, paths.hermes_home, paths.memories)):
        files.directory(name=f"2 directory {number}", path=folder, user=name, group=name, mode="700")
    env = files.put(
        name="3 .env", src=StringIO(rendered.env.reveal()), dest=paths.env, user=name, group=name, mode="600"
    )
    config = files.put(
        name="4 config.yaml", src=StringIO(yaml.safe_dump(_nested(dict(rendered.leaves)))), dest=paths.config,
        user=name, group=name, mode="600",
    )  # fmt: skip
    files.link(
        name="5 link to the release", path=paths.code, target=release_directory(name, rendered.release_id),
        user=name, group=name,
    )  # fmt: skip
    folder = "/etc/systemd/system"
    slice_ = files.put(
        name="6 slice", src=StringIO(rendered.slice), dest=f"{folder}/hermes.slice", user="root", mode="644"
    )
    unit = files.put(
        name="7 unit", src=StringIO(rendered.service), dest=f"{folder}/{paths.service}", user="root", mode="644"
    )
    written = [env, config, slice_, unit]
    systemd.daemon_reload(name="8 reload", _if=lambda: slice_.did_change() or unit.did_change())
    started = systemd.service(name="8 service", service=paths.service, running=True, enabled=True)
    systemd.service(
        name="8 restart", service=paths.service, restarted=True,
        _if=lambda: any(meta.did_change() for meta in written) and not started.did_change(),
    )  # fmt: skip


for _row in host.data.hermes_agents:
    _spec = AgentSpec.parse(_row)
    agent(_spec.name, render(_spec, host.data.hermes_secrets(host.name, _spec.name)))
