"""`functions` and `function_call`, the older form of `tools` and `tool_calls`: forth and back.

OpenAI is sent the older form itself; the other wires know only the newer one.
Source: https://platform.openai.com/docs/api-reference/chat/create#chat-create-functions
"""

from collections.abc import Mapping
from typing import Any

from functions.gateway.errors import BadRequest

_NAMES = ("functions", "function_call")


def is_legacy(body: Mapping[str, Any]) -> bool:
    """Say whether a request speaks the older form, in its parameters or in its messages."""
    if body.get("functions") or body.get("function_call"):
        return True
    return any(message["role"] == "function" or message.get("function_call") for message in body["messages"])


def modern(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give the same request with `tools`. Raises `BadRequest` for a result without its call."""
    kept = {name: value for name, value in body.items() if name not in _NAMES}
    kept["messages"] = _messages(body["messages"])
    if functions := body.get("functions"):
        kept["tools"] = [{"type": "function", "function": function} for function in functions]
        choice = body.get("function_call")
        if choice is not None:
            kept["tool_choice"] = choice if isinstance(choice, str) else {"type": "function", "function": choice}
    return kept


def put_legacy(choice: dict[str, Any]) -> None:
    """Write a choice's tool calls as a `function_call`; there is room for the first one only."""
    said: dict[str, Any] = choice.get("message") or choice.get("delta") or {}
    for call in said.pop("tool_calls", None) or ():
        if call.get("index", 0) == 0:
            said.setdefault("function_call", dict(call["function"]))
    if choice.get("finish_reason") == "tool_calls":
        choice["finish_reason"] = "function_call"


def _messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    modern_messages: list[dict[str, Any]] = []
    last_call: dict[str, str] = {}  # function → id of its last call
    for position, message in enumerate(messages):
        if called := message.get("function_call"):
            call_id = last_call[called["name"]] = f"call_{position}"
            calls = [{"id": call_id, "type": "function", "function": called}]
            message = {**message, "tool_calls": calls}
            del message["function_call"]
        elif message["role"] == "function":
            message = _result(message, position, last_call)
        modern_messages.append(message)
    return modern_messages


def _result(message: Mapping[str, Any], position: int, last_call: Mapping[str, str]) -> dict[str, Any]:
    name = message["name"]
    if name not in last_call:
        path = f"messages[{position}].name"
        raise BadRequest(f"{path}: {name!r} was not called by an earlier message.", param=path)
    return {"role": "tool", "tool_call_id": last_call[name], "content": message["content"] or ""}
