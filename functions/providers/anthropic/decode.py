"""A Messages answer as OpenAI's. Source: https://platform.claude.com/docs/en/api/messages/create#response"""

from collections.abc import Mapping
from typing import Any

import orjson

from events.spend import Usage
from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Answer

# https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def decode_answer(body: Mapping[str, Any]) -> Answer:
    """Read a message. Raises `UpstreamError` where it is none."""
    if body.get("type") != "message":
        raise UpstreamError("invalid_response", f"not a message but {body.get('type')!r}")
    blocks: list[dict[str, Any]] = body["content"]
    message: dict[str, Any] = {"role": "assistant", "content": _joined(blocks, "text")}
    if calls := [_tool_call(block) for block in blocks if block["type"] == "tool_use"]:
        message["tool_calls"] = calls
    if thinking := _joined(blocks, "thinking"):
        message["reasoning_content"] = thinking
    choice = {"index": 0, "message": message, "finish_reason": finish_reason(body.get("stop_reason"))}
    return Answer(
        choices=[choice],
        usage=usage_of(body["usage"]),
        response_id=body.get("id"),
        response_model=body.get("model"),
    )


def finish_reason(stop_reason: str | None) -> str:
    """Give OpenAI's word; an unknown reason is an ordinary end."""
    return _FINISH_REASONS.get(str(stop_reason), "stop")


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Read the usage. Anthropic's `input_tokens` leaves cached reads and writes out; ours includes them.

    Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance
    """
    read: int = usage.get("cache_read_input_tokens") or 0
    written: int = usage.get("cache_creation_input_tokens") or 0
    by_lifetime: Mapping[str, Any] = usage.get("cache_creation") or {}
    written_1h: int = by_lifetime.get("ephemeral_1h_input_tokens") or 0
    details: Mapping[str, Any] = usage.get("output_tokens_details") or {}
    return Usage(
        input_tokens=(usage.get("input_tokens") or 0) + read + written,
        output_tokens=usage.get("output_tokens") or 0,
        cache_read_tokens=read,
        cache_write_5m_tokens=written - written_1h,
        cache_write_1h_tokens=written_1h,
        reasoning_tokens=details.get("thinking_tokens") or 0,
    )


def _joined(blocks: list[dict[str, Any]], kind: str) -> str | None:
    texts = [block[kind] for block in blocks if block["type"] == kind]
    return "".join(texts) if texts else None


def _tool_call(block: Mapping[str, Any]) -> dict[str, Any]:
    arguments = orjson.dumps(block["input"]).decode()
    return {"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": arguments}}
