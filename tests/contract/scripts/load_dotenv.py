"""Load each document as Hermes does: what arrives in the environment, and what became of the file."""

import json
import os
import sys
from pathlib import Path

from hermes_cli.env_loader import load_hermes_dotenv

home = Path(os.environ["HERMES_HOME"])
kept = dict(os.environ)
results = []
for document in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(kept)
    (home / ".env").write_text(document, encoding="utf-8", newline="")
    load_hermes_dotenv(hermes_home=home)
    loaded = {name: value for name, value in os.environ.items() if kept.get(name) != value}
    results.append({"loaded": loaded, "file": (home / ".env").read_text(encoding="utf-8")})
print(json.dumps(results))
