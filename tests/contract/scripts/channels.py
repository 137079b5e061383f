"""Answer which channels the gateway would start with each .env and config.yaml, and who may talk to it there."""

import json
import os
import sys
from pathlib import Path

home = Path(os.environ["HERMES_HOME"])
given = json.load(sys.stdin)

# gateway.run loads .env when it is imported, and there is none yet.
from gateway import run  # noqa: E402
from gateway.config import load_gateway_config  # noqa: E402
from gateway.pairing import PairingStore  # noqa: E402
from gateway.session import SessionSource  # noqa: E402
from hermes_cli.env_loader import load_hermes_dotenv  # noqa: E402

kept = dict(os.environ)
results = []
for case in given:
    os.environ.clear()
    os.environ.update(kept)
    (home / ".env").write_text(case["env"], encoding="utf-8")
    (home / "config.yaml").write_text(case["config"], encoding="utf-8")
    load_hermes_dotenv(hermes_home=home)
    config = load_gateway_config()
    # Made without its constructor, which starts half of Hermes; what is asked of it is its own code.
    gateway = object.__new__(run.GatewayRunner)
    gateway.config, gateway.adapters, gateway.pairing_store = config, {}, PairingStore()
    platforms = {}
    for platform, settings in config.platforms.items():
        if not settings.enabled:
            continue
        homes = settings.home_channel
        platforms[platform.value] = {
            "adapter": gateway._create_adapter(platform, settings) is not None,
            "token": settings.token,
            "home": None if homes is None else [homes.chat_id, homes.name],
            "extra": settings.extra,
            "allowed": {
                user: gateway._is_user_authorized(
                    SessionSource(platform=platform, chat_id=user, chat_type="dm", user_id=user)
                )
                for user in case["users"]
            },
        }
    results.append(
        {
            "platforms": platforms,
            "environment": {name: value for name, value in os.environ.items() if kept.get(name) != value},
            "connect_seconds": gateway._platform_connect_timeout_secs(),
        }
    )
print(json.dumps(results, default=str))
