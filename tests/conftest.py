"""What holds for all tests: the count of lab tests, which CI reads."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many lab tests ran and how many were skipped: a green run without them proves little."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind) if "lab" in r.keywords]
    skipped = [r for r in terminalreporter.getreports("skipped") if "lab" in r.keywords]
    terminalreporter.write_line(f"lab tests run: {len(reports)}, skipped: {len(skipped)}")
