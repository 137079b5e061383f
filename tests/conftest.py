"""What holds for all tests: an interpreter that gevent has not patched, and the count of lab tests, which CI reads."""

from __future__ import annotations

import pytest
from gevent import monkey


def _import_pyinfra_cli_unpatched() -> None:
    # pyinfra-testing imports it, and it patches the standard library of the whole process: subprocesses at a
    # pseudo-terminal hang then, and every test would run in another world than what it tests.
    patch_all, monkey.patch_all = monkey.patch_all, lambda *_, **__: False
    try:
        import pyinfra_cli  # noqa: F401
    finally:
        monkey.patch_all = patch_all


_import_pyinfra_cli_unpatched()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many lab tests ran and how many were skipped: a green run without them proves little."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind) if "lab" in r.keywords]
    skipped = [r for r in terminalreporter.getreports("skipped") if "lab" in r.keywords]
    terminalreporter.write_line(f"lab tests run: {len(reports)}, skipped: {len(skipped)}")
