"""Facts as cases for pyinfra-testing: what a host prints, and what a fact makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra_testing.facts import make_fact_tests

# The commands are whole scripts; test_scripts.py runs them instead of repeating them in every case.
pytestmark = pytest.mark.filterwarnings("ignore:No command set for test")

_CASES = Path(__file__).parent / "cases"
for _folder in sorted(_CASES.iterdir()):
    globals()[_folder.name] = make_fact_tests("pyinfra_hermes.facts", _folder.name, _folder)
