"""
Operations as cases for pyinfra-testing: what was observed, and the exact commands or the reason for none.

A case holds the observation as plain data, as pyinfra hands it to an operation that runs in another process. What a
case cannot express is in the modules beside: arguments that are secrets, callables or earlier operations, and commands
whose standard input is a packaged script.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra_testing.operations import make_operation_tests

_CASES = Path(__file__).parent / "cases"
for _folder in sorted(_CASES.iterdir()):
    globals()[_folder.name] = make_operation_tests("pyinfra_hermes.operations", _folder.name, _folder)
