"""Answer what the gateway would use for each of several pairs of ``.env`` and ``config.yaml``, in one process."""

import json
import os
import sys
from pathlib import Path

cases = json.load(sys.stdin)
home = Path(os.environ["HERMES_HOME"])
kept = dict(os.environ)

from gateway import run  # noqa: E402
from hermes_cli.env_loader import load_hermes_dotenv  # noqa: E402

found = {}
for name, (env, config) in cases.items():
    os.environ.clear()
    os.environ.update(kept)
    (home / ".env").write_text(env, encoding="utf-8")
    (home / "config.yaml").write_text(config, encoding="utf-8")
    (home / "auth.json").unlink(missing_ok=True)
    load_hermes_dotenv(hermes_home=home)
    answer = run._resolve_runtime_agent_kwargs()
    found[name] = {key: answer[key] for key in ("provider", "base_url", "api_mode", "api_key")} | {
        "model": run._resolve_gateway_model(),
        "region": os.environ.get("AWS_REGION"),
    }
print(json.dumps(found))
