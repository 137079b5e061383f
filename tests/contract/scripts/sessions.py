"""A state.db as the real Hermes writes it, with conversations in it, read by our script while it is open and after."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import hermes_state

given = json.load(sys.stdin)
path = Path(given["home"], ".hermes", "state.db")


def files():
    found = {}
    for each in path.parent.glob("state.db*"):
        # Of the -shm the readers' marks are no content.
        digest = "" if each.name.endswith("-shm") else hashlib.sha256(each.read_bytes()).hexdigest()
        found[each.name] = (each.stat().st_size, digest)
    return found


def read():
    rows = []
    for request in given["requests"]:
        command = [given["python"], "-I", "-c", given["script"]]
        asked = json.dumps(request)
        done = subprocess.run(command, input=asked, capture_output=True, text=True, env={"HOME": given["home"]})
        rows.append(done.stdout + done.stderr)
    return rows


db = hermes_state.SessionDB(path)
db.create_session("20260507_120000_aaaa", "discord", model="stand-in")
db.set_session_title("20260507_120000_aaaa", "About bees")
db.append_message("20260507_120000_aaaa", "user", "Where do the bees live?")
calls = [{"id": "1", "type": "function", "function": {"name": "terminal", "arguments": '{"command": "ls"}'}}]
db.append_message("20260507_120000_aaaa", "assistant", None, tool_calls=calls)
db.append_message("20260507_120000_aaaa", "tool", "hives.txt", tool_name="terminal")
parts = [{"type": "text", "text": "In hives."}, {"type": "image_url", "image_url": {"url": "x"}}]
db.append_message("20260507_120000_aaaa", "assistant", parts)
db.create_session("20260508_120000_bbbb", "api_server", model="stand-in")
db.append_message("20260508_120000_bbbb", "user", "日本の蜂は?")
taken_back = db.append_message("20260508_120000_bbbb", "user", "never mind the wasps")
if hasattr(db, "rewind_to_message"):
    db.rewind_to_message("20260508_120000_bbbb", taken_back)

before = files()
live = read()
during = files()
# It can still be written to, and nobody waited.
db.append_message("20260508_120000_bbbb", "assistant", "done")
db.close()
closed = files()
resting = read()
print(json.dumps({"live": live, "resting": resting, "files": [before, during, closed, files()],
                  "schema": hermes_state.SCHEMA_VERSION, "rewinds": hasattr(db, "rewind_to_message")}))  # fmt: skip
