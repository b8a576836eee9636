"""A generateContent answer as OpenAI's.

Source: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from events.spend import Usage
from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Answer

# https://ai.google.dev/api/generate-content#FinishReason; whatever else ends an answer has blocked it.
_FINISH_REASONS = {"STOP": "stop", "MAX_TOKENS": "length", "FINISH_REASON_UNSPECIFIED": "stop"}
_FAILURES = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "OTHER"})


def decode_answer(body: Mapping[str, Any], new_call_id: Callable[[], str]) -> Answer:
    """Read a response. A blocked prompt is an answer that was filtered. Raises `UpstreamError` where it is none."""
    candidates: list[dict[str, Any]] = body.get("candidates") or blocked_prompt(body)
    return Answer(
        choices=[_choice(candidate, new_call_id) for candidate in candidates],
        usage=usage_of(body.get("usageMetadata") or {}),
        response_id=body.get("responseId"),
        response_model=body.get("modelVersion"),
    )


def blocked_prompt(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the candidate that a blocked prompt stands for. Raises `UpstreamError` where none was blocked."""
    feedback: Mapping[str, Any] = body.get("promptFeedback") or {}
    if not feedback.get("blockReason"):
        raise UpstreamError("invalid_response", "an answer without candidates")
    return [{"index": 0, "content": {}, "finishReason": feedback["blockReason"]}]


def finish_reason(reason: str, *, has_calls: bool) -> str:
    """Give OpenAI's word. Raises `UpstreamError` for an answer that the model failed to write."""
    if reason in _FAILURES:
        raise UpstreamError("invalid_response", f"the model ended with {reason}")
    finish = _FINISH_REASONS.get(reason, "content_filter")
    return "tool_calls" if has_calls and finish == "stop" else finish


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Read `usageMetadata`: the prompt includes cached tokens; tool results and thoughts stand beside it.

    Source: https://ai.google.dev/api/generate-content#UsageMetadata
    """
    thoughts: int = usage.get("thoughtsTokenCount") or 0
    details: list[dict[str, Any]] = usage.get("promptTokensDetails") or []
    return Usage(
        input_tokens=(usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0),
        output_tokens=(usage.get("candidatesTokenCount") or 0) + thoughts,
        cache_read_tokens=usage.get("cachedContentTokenCount") or 0,
        reasoning_tokens=thoughts,
        audio_input_tokens=sum(entry.get("tokenCount") or 0 for entry in details if entry.get("modality") == "AUDIO"),
    )


def parts_of(candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give a candidate's parts, of which there may be none."""
    content: Mapping[str, Any] = candidate.get("content") or {}
    return content.get("parts") or []


def tool_call(call: Mapping[str, Any], new_call_id: Callable[[], str]) -> dict[str, Any]:
    """Give OpenAI's tool call; older models don't name theirs."""
    arguments = orjson.dumps(call.get("args") or {}).decode()
    call_id = call.get("id") or new_call_id()
    return {"id": call_id, "type": "function", "function": {"name": call["name"], "arguments": arguments}}


def _choice(candidate: Mapping[str, Any], new_call_id: Callable[[], str]) -> dict[str, Any]:
    parts = parts_of(candidate)
    texts = [part["text"] for part in parts if "text" in part and not part.get("thought")]
    thoughts = [part["text"] for part in parts if "text" in part and part.get("thought")]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    if calls := [tool_call(part["functionCall"], new_call_id) for part in parts if "functionCall" in part]:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    finish = finish_reason(candidate.get("finishReason") or "STOP", has_calls=bool(calls))
    return {"index": candidate.get("index") or 0, "message": message, "finish_reason": finish}
