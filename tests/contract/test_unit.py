"""systemd itself reads our units."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pyinfra_hermes.deploys.model import unit
from pyinfra_hermes.deploys.model.spec import AgentSpec

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def verify(folder: Path, service: str) -> str:
    (folder / "hermes.slice").write_text(unit.shared_slice())
    (folder / "hermes-root.service").write_text(service)
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--generators=no", str(folder / "hermes-root.service")],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_LEVEL": "warning"},
        timeout=60,
        check=False,
    )
    return "\n".join(line for line in result.stderr.splitlines() if "hermes" in line)


def service(hardening: str) -> str:
    text = unit.service(AgentSpec.parse({"name": "maurice", "hardening": hardening}), "r")
    # The account and the release are not on this machine.
    return text.replace("/opt/pyinfra-hermes/releases/r/venv/bin/hermes", "/bin/true").replace("maurice", "root")


@pytest.mark.parametrize("hardening", ["off", "standard", "strict"])
def test_systemd_finds_nothing_to_complain_about(tmp_path: Path, hardening: str) -> None:
    assert verify(tmp_path, service(hardening)) == ""


def test_systemd_would_complain(tmp_path: Path) -> None:
    assert "ProtectSystm" in verify(tmp_path, service("off").replace("UMask=", "ProtectSystm="))
