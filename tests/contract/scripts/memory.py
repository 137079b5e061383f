"""What the real memory tool does with texts, and with entries that it is told to add."""

import json
import sys
import tempfile
from pathlib import Path

from agent import prompt_builder
from hermes_cli.config import DEFAULT_CONFIG
from tools import memory_tool

given = json.load(sys.stdin)


def entries(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "MEMORY.md")
        path.write_bytes(text.encode())
        return list(dict.fromkeys(memory_tool.MemoryStore._read_file(path)))


def drift(text):
    """Whether the tool takes a file with this text for damaged; releases before 0.15 do not look."""
    path = memory_tool.get_memory_dir() / "USER.md"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())
    look = getattr(memory_tool.MemoryStore(), "_detect_external_drift", lambda target: None)
    found = look("user")
    path.unlink()
    return found is not None


store = memory_tool.MemoryStore(memory_char_limit=10_000)
store.load_from_disk()
added = [store.add("memory", text)["success"] for text in given["add"]]
defaults = memory_tool.MemoryStore()
print(
    json.dumps(
        {
            "separator": memory_tool.ENTRY_DELIMITER,
            "limits": [defaults.memory_char_limit, defaults.user_char_limit],
            "configured": [DEFAULT_CONFIG["memory"][key] for key in ("memory_char_limit", "user_char_limit")],
            "entries": [entries(text) for text in given["texts"]],
            "drift": [drift(text) for text in given["stored"]],
            "refused": [memory_tool._scan_memory_content(text) is not None for text in given["scan"]],
            "hidden": [
                prompt_builder._scan_context_content(text, "SOUL.md").startswith("[BLOCKED") for text in given["scan"]
            ],
            "added": added,
        }
    )
)
