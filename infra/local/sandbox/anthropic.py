"""Anthropic's Messages wire. Source: https://platform.claude.com/docs/en/api/messages"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.local.sandbox.directives import last_directives
from infra.local.sandbox.reply import SIGNATURE, THOUGHT, Question, Reply

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_THINKING = {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}
_FINISH = {"stop": "end_turn", "length": "max_tokens", "call": "tool_use"}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def question(body: Mapping[str, Any], _path: str) -> Question:
    """Read a request."""
    messages: list[dict[str, Any]] = body["messages"]
    users = [_text(message) for message in messages if message["role"] == "user" and _text(message)]
    results = [block for block in _blocks(messages[-1]) if block["type"] == "tool_result"]
    tools: list[dict[str, Any]] = body.get("tools", [])
    return Question(
        provider="anthropic",
        model=body["model"],
        user_text=users[-1] if users else "",
        directives=last_directives(users),
        input_text=json.dumps(body.get("system", "")) + "".join(_text(message) for message in messages),
        tools=tuple((tool["name"], tool["input_schema"]) for tool in tools if "input_schema" in tool),
        must_call=body.get("tool_choice", {}).get("type") in ("any", "tool"),
        result=_text({"content": results[-1].get("content", "")}) if results else None,
        max_tokens=body["max_tokens"],
        is_stream=bool(body.get("stream")),
        is_thinking=body.get("thinking", {}).get("type") in ("enabled", "adaptive"),
    )


def refusal(body: Mapping[str, Any], asked: Question) -> str | None:
    """Say what the API would refuse in a conversation with tools: ids, and thinking blocks that did not come back.

    Source: https://platform.claude.com/docs/en/build-with-claude/extended-thinking
    """
    blocks = [block for message in body["messages"] for block in _blocks(message)]
    ids = [block.get("id") or block["tool_use_id"] for block in blocks if block["type"] in ("tool_use", "tool_result")]
    if odd := [call_id for call_id in ids if not _CALL_ID.fullmatch(call_id)]:
        return f"tool_use.id: {odd[0]!r} does not match {_CALL_ID.pattern}"
    if [block for block in blocks if block["type"] == "thinking" and block["signature"] != SIGNATURE]:
        return "Invalid `signature` in `thinking` block"
    turns = [_blocks(message)[0]["type"] for message in body["messages"] if message["role"] == "assistant"]
    if asked.result is not None and body.get("thinking", {}).get("type") == "enabled" and turns[-1] != "thinking":
        return f"Expected `thinking` or `redacted_thinking`, but found `{turns[-1]}`"
    return None


def whole(asked: Question, reply: Reply, answer_id: str) -> dict[str, Any]:
    """Render an answer."""
    return {
        **_message(asked, answer_id),
        "content": [
            *([_THINKING] if asked.is_thinking else []),
            _tool_use(reply, answer_id) if reply.call else {"type": "text", "text": reply.text},
        ],
        "stop_reason": _FINISH[reply.finish],
        "usage": _usage(reply),
    }


def stream(asked: Question, reply: Reply, answer_id: str) -> Iterator[bytes]:
    """Render an answer's events."""
    start: dict[str, Any] = {**_message(asked, answer_id), "content": [], "stop_reason": None}
    yield _event("message_start", message={**start, "usage": {**_usage(reply), "output_tokens": 1}})
    if reply.call:
        block: dict[str, Any] = {**_tool_use(reply, answer_id), "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": half} for half in ("", json.dumps(reply.call[1]))]
    else:
        block = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in reply.pieces()]
    if asked.is_thinking:
        yield from _thinking_events()
    index = int(asked.is_thinking)
    yield _event("content_block_start", index=index, content_block=block)
    yield _event("ping")
    for delta in deltas:
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)
    end = {"stop_reason": _FINISH[reply.finish], "stop_sequence": None}
    yield _event("message_delta", delta=end, usage={"output_tokens": reply.output_tokens})
    yield _event("message_stop")


def error(status: int, message: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """Give the body and headers of an error answer."""
    kind = _ERRORS.get(status, "api_error")
    said = {"type": kind, "message": message or f"The sandbox was asked for {status}."}
    return {"type": "error", "error": said, "request_id": "req_sandbox"}, {"retry-after": "1"} if status == 429 else {}


def error_event() -> bytes:
    """Give the event of a failure in a stream."""
    return _event("error", error={"type": "overloaded_error", "message": "Overloaded"})


def _thinking_events() -> Iterator[bytes]:
    deltas = [
        {"type": "thinking_delta", "thinking": THOUGHT},
        {"type": "signature_delta", "signature": SIGNATURE},
    ]
    yield _event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""})
    for delta in deltas:
        yield _event("content_block_delta", index=0, delta=delta)
    yield _event("content_block_stop", index=0)


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content: Any = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(message: Mapping[str, Any]) -> str:
    return "".join(block["text"] for block in _blocks(message) if block["type"] == "text")


def _message(asked: Question, answer_id: str) -> dict[str, Any]:
    return {
        "id": f"msg_{answer_id}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "stop_sequence": None,
    }


def _tool_use(reply: Reply, answer_id: str) -> dict[str, Any]:
    name, arguments = reply.call or ("", {})
    return {"type": "tool_use", "id": f"toolu_{answer_id[:24]}", "name": name, "input": arguments}


def _usage(reply: Reply) -> dict[str, Any]:
    return {
        "input_tokens": reply.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": reply.output_tokens,
        "service_tier": "standard",
    }


def _event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()
