"""The OpenAI protocol, as far as the stand-in model speaks it: what comes in and what goes out."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MODEL = "stand-in"


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    time: float
    method: str
    path: str
    headers: dict[str, str]
    body: Any = None

    def header(self, name: str) -> str | None:
        """A header's value, whatever the case of its name."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far."""
        found = self.body.get("messages") if isinstance(self.body, dict) else None
        return [message for message in found or [] if isinstance(message, dict)]

    @property
    def last_user_text(self) -> str:
        """What the user said last."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return _text(message.get("content"))
        return ""


@dataclass(frozen=True)
class ToolCall:
    """A call of one of the tools that the request offered."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What the assistant says, and the tools it wants to use."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    #: Streamed, hang up after so many pieces; None comes to an end.
    cut_after: int | None = None
    #: Streamed, seconds before each piece.
    pause: float = 0


def completion(request: Request, reply: Reply, number: int) -> dict[str, Any]:
    """The whole answer in one object."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.tool_calls:
        message["tool_calls"] = _calls(reply, number)
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
    head = _head(request, number, "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(request, reply)}


def chunks(request: Request, reply: Reply, number: int) -> Iterator[dict[str, Any]]:
    """The same answer word by word, as it is streamed."""
    head = _head(request, number, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({"role": "assistant", "content": ""})
    for word in re.findall(r"\s*\S+|\s+", reply.text):
        yield chunk({"content": word})
    for index, call in enumerate(_calls(reply, number)):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    yield chunk({}, _finish(reply))
    if (request.body.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": _usage(request, reply)}


def model_list() -> dict[str, Any]:
    """The models there are: one, which is none."""
    # Servers of open models also name the size of the context here, and agents look for it.
    entry = {"id": MODEL, "object": "model", "created": 0, "owned_by": "stand-in", "context_length": 131072}
    return {"object": "list", "data": [entry]}


def error(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """An error as such servers put it."""
    return {"error": {"message": f"stand-in model: {message}", "type": kind, "param": None, "code": code}}


def _head(request: Request, number: int, kind: str) -> dict[str, Any]:
    model = request.body.get("model") or MODEL
    return {"id": f"chatcmpl-{number}", "object": kind, "created": int(request.time), "model": model}


def _calls(reply: Reply, number: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call-{number}-{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for index, call in enumerate(reply.tool_calls)
    ]


def _finish(reply: Reply) -> str:
    return "tool_calls" if reply.tool_calls else "stop"


def _usage(request: Request, reply: Reply) -> dict[str, int]:
    # Words instead of tokens: of the right kind, and the same every time.
    read = sum(len(_text(message.get("content")).split()) for message in request.messages)
    said = len(reply.text.split()) + len(reply.tool_calls)
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}


def _text(content: Any) -> str:
    # The text of a message is a string, or a list of parts of which some have text.
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
