"""Print every name of a variable that Hermes' sanitiser splits lines at."""

import json

from hermes_cli.config import _EXTRA_ENV_KEYS, OPTIONAL_ENV_VARS

print(json.dumps(sorted(set(OPTIONAL_ENV_VARS) | set(_EXTRA_ENV_KEYS))))
