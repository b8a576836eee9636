"""A Messages answer as OpenAI's. Source: https://platform.claude.com/docs/en/api/messages/create#response"""

from collections.abc import Iterable, Mapping
from typing import Any

from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Answer
from functions.providers.anthropic.blocks import call_of, extensions_of, finish_reason, is_call, reasoning_of, text_of
from functions.providers.anthropic.usage import tier_of, uncounted, usage_of

_WINDOW_IS_FULL = "model_context_window_exceeded"


def decode_answer(body: Mapping[str, Any]) -> Answer:
    """Read a message. Raises `UpstreamError` where it is none."""
    if body.get("type") != "message":
        raise UpstreamError("invalid_response", f"not a message but {body.get('type')!r}")
    blocks: list[dict[str, Any]] = body["content"]
    usage: Mapping[str, Any] = body.get("usage") or {}
    refuse_nothing(body.get("stop_reason"), blocks)
    message: dict[str, Any] = {"role": "assistant", "content": text_of(blocks) or None}
    if calls := [call_of(block) for block in blocks if is_call(block)]:
        message["tool_calls"] = calls
    elif message["content"] is None:
        message["content"] = ""
    if thinking := reasoning_of(blocks):
        message["reasoning_content"] = thinking
    message |= extensions_of(blocks, said_of(body, usage))
    choice = {"index": 0, "message": message, "finish_reason": finish_reason(body.get("stop_reason"), blocks)}
    return Answer(
        choices=[choice],
        usage=usage_of(usage),
        response_id=body.get("id"),
        response_model=body.get("model"),
        extra=tier_of(usage),
    )


def refuse_nothing(stop_reason: str | None, blocks: Iterable[Mapping[str, Any]]) -> None:
    """Raise `UpstreamError` where the window was full before a word was written: another model may have room."""
    if stop_reason == _WINDOW_IS_FULL and not any(map(_says_something, blocks)):
        raise UpstreamError("invalid_response", "the window is full, and nothing was written", code=_WINDOW_IS_FULL)


def _says_something(block: Mapping[str, Any]) -> bool:
    return bool(block.get("text")) if block.get("type") == "text" else True


def said_of(message: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    """Give the message's own fields, with what its usage says beyond tokens."""
    return {**message, "usage": uncounted(usage) or None}
