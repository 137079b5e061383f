"""A conversation with an agent in one session, over its own API on the host, and what its state.db has of it."""

from __future__ import annotations

import json

from tests.lab.machine import Machine

SESSION = "a-long-talk"

# Talks to an agent's API on loopback, in one session: once, or until it is ended.
TALK = """
import itertools, json, sys, urllib.request
port, key, session, text, times = json.loads(sys.argv[1])
for number in range(times) if times else itertools.count():
    body = {"model": "hermes-agent", "messages": [{"role": "user", "content": "%s %d" % (text, number)}]}
    headers = {"Authorization": "Bearer " + key, "X-Hermes-Session-Id": session, "Content-Type": "application/json"}
    url = "http://127.0.0.1:%d/v1/chat/completions" % port
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    answer = json.load(urllib.request.urlopen(request, timeout=60))
    print(answer["choices"][0]["message"]["content"], flush=True)
"""


def talk(machine: Machine, port: int, key: str, text: str) -> str:
    """Say one thing in the session."""
    wanted = json.dumps([port, key, SESSION, text, 1])
    return machine.ssh("python3", "-c", TALK, wanted).stdout


def messages(machine: Machine, agent: str, database: str = "state.db") -> list[tuple[str, str]]:
    """What an agent's database has of the session, read as the agent."""
    script = (
        f"import json, sqlite3; c = sqlite3.connect('file:/home/{agent}/.hermes/{database}?mode=ro', uri=True); "
        f"print(json.dumps(c.execute('SELECT role, content FROM messages WHERE session_id = ? ORDER BY id', "
        f"('{SESSION}',)).fetchall()))"
    )
    shown = machine.ssh("setpriv", f"--reuid={agent}", f"--regid={agent}", "--clear-groups", "python3", "-c", script)
    return [(role, content) for role, content in json.loads(shown.stdout)]
