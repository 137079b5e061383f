"""Answer with the MCP servers that the gateway would start, and whether it can use each memory backend."""

import asyncio
import json
import os
import sys

given = json.load(sys.stdin)
# gateway.run loads .env when it is imported.
from gateway import run  # noqa: E402, F401
from hermes_cli.config import load_config  # noqa: E402
from plugins.memory import load_memory_provider  # noqa: E402
from tools import mcp_tool  # noqa: E402
from tools.mcp_oauth_manager import get_manager  # noqa: E402
from toolsets import TOOLSETS  # noqa: E402

servers = mcp_tool._load_mcp_config()


async def signed_in(name, server):
    provider = get_manager().get_or_build_provider(name, server["url"], server.get("oauth"))
    await provider._initialize()
    tokens, client = provider.context.current_tokens, provider.context.client_info
    return {
        "tokens": [tokens.access_token, tokens.token_type, tokens.refresh_token],
        "client": client.client_id,
        "renewable": provider.context.can_refresh_token(),
    }


oauth = {n: asyncio.run(signed_in(n, s)) for n, s in servers.items() if s.get("auth") == "oauth"}
memory = {}
for name, variables in given["memory"].items():
    os.environ.update(variables)
    provider = load_memory_provider(name)
    memory[name] = provider is not None and provider.name == name and bool(provider.is_available())
    for variable in variables:
        del os.environ[variable]
print(
    json.dumps(
        {
            "servers": servers,
            "oauth": oauth,
            "prefixes": {name: mcp_tool.sanitize_mcp_name_component(name) for name in servers},
            "toolsets": sorted(TOOLSETS),
            "memory_provider": load_config()["memory"]["provider"],
            "memory": memory,
        }
    )
)
