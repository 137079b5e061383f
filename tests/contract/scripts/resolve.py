"""Answer what the gateway would use: provider, URL, key and model, and where its API server listens."""

import json
import os
import sys

given = json.load(sys.stdin)
# gateway.run loads .env when it is imported.
from gateway import run  # noqa: E402
from gateway.config import Platform, load_gateway_config  # noqa: E402

found = run._resolve_runtime_agent_kwargs()
api = load_gateway_config().platforms[Platform.API_SERVER]
print(
    json.dumps(
        {
            "provider": found["provider"],
            "base_url": found["base_url"],
            "api_key": found["api_key"],
            "model": run._resolve_gateway_model(),
            "api_enabled": api.enabled,
            "api": {name: api.extra.get(name) for name in ("host", "port", "key")},
            "environment": {name: os.environ.get(name) for name in given},
        }
    )
)
