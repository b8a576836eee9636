"""A `chat.completion`, made whole: compatible servers leave out or misspell what OpenAI's clients rely on.

Source: https://platform.openai.com/docs/api-reference/chat/object
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from events.spend import Usage
from functions.gateway.errors import UpstreamError
from functions.gateway.exact_json import write_json
from functions.gateway.ports import Answer
from functions.providers.calls import new_call_id
from functions.providers.counts import NoCount, count
from functions.providers.refusals import is_error, refused_in_band

FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
# An answer that its server gave up, under a 200: OpenRouter and Mistral, vLLM and SGLang, DeepSeek.
_FAILURES: Mapping[str, int | str] = {
    "error": "invalid_response",
    "abort": "invalid_response",
    "insufficient_system_resource": 503,
}
_END_OF_TIME = 2**53
_OWN_FIELDS = frozenset({"id", "object", "created", "model", "choices", "usage"})

# The details that `Usage` holds, or sums up; whatever else is reported passes through beside it.
_PROMPT_DETAILS = frozenset({"cached_tokens", "audio_tokens", "cache_write_tokens"})
_COMPLETION_DETAILS = frozenset({"reasoning_tokens", "audio_tokens"})
_TOTALS = frozenset({
    "prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details",
})  # fmt: skip


def decode_answer(body: dict[str, Any]) -> Answer:
    """Read a `chat.completion`. Raises `UpstreamError` where it is none."""
    choices: list[dict[str, Any]] = body.get("choices") or []
    if not choices:
        raise UpstreamError("invalid_response", "an answer without choices")
    usage = body.get("usage")
    return Answer(
        choices=[_choice(position, choice) for position, choice in enumerate(choices)],
        usage=usage_of(usage),
        response_id=name_of(body.get("id")),
        response_model=name_of(body.get("model")),
        created=created_of(body),
        usage_details=usage_details(usage),
        extra=extra_of(body),
    )


def usage_of(usage: Any) -> Usage | None:
    """Read OpenAI's `usage`, or nothing where it, or one of its counts, is none."""
    reported = _object(usage)
    if reported.get("prompt_tokens") is None:
        return None
    with suppress(NoCount):
        return _usage(reported)
    return None


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Read the counts: OpenAI's `prompt_tokens` include cached and audio ones, `completion_tokens` reasoning.

    Writes to the cache have one price however long they last, so that they count as the short ones.
    Source: https://platform.openai.com/docs/api-reference/chat/object#chat-object-usage
    """
    prompt, completion = _object(usage.get("prompt_tokens_details")), _object(usage.get("completion_tokens_details"))
    return Usage(
        input_tokens=count(usage["prompt_tokens"]),
        output_tokens=count(usage.get("completion_tokens")),
        cache_read_tokens=count(prompt.get("cached_tokens")),
        cache_write_5m_tokens=count(prompt.get("cache_write_tokens")),
        audio_input_tokens=count(prompt.get("audio_tokens")),
        reasoning_tokens=count(completion.get("reasoning_tokens")),
        audio_output_tokens=count(completion.get("audio_tokens")),
    )


def usage_details(usage: Any) -> dict[str, Any]:
    """Give what `usage` says beyond `Usage`, such as accepted and rejected prediction tokens."""
    reported = _object(usage)
    if not reported:
        return {}
    details = {name: value for name, value in reported.items() if name not in _TOTALS}
    for name, known in (("prompt_tokens_details", _PROMPT_DETAILS), ("completion_tokens_details", _COMPLETION_DETAILS)):
        details[name] = {kind: told for kind, told in _object(reported.get(name)).items() if kind not in known}
    return details


def _object(value: Any) -> Mapping[str, Any]:
    """Give an object, or an empty one in place of anything else."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def extra_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give the further top-level fields, such as `system_fingerprint` and `service_tier`."""
    return {name: value for name, value in body.items() if name not in _OWN_FIELDS}


def name_of(value: Any) -> str | None:
    """Give an id or a model's name as text; some servers number their answers."""
    return str(value) if isinstance(value, str | int) else None


def created_of(body: Mapping[str, Any]) -> int | None:
    """Give when an answer was made, in Unix seconds; some servers say so in fractions, or in words."""
    created = body.get("created")
    return int(created) if isinstance(created, int | float) and 0 < created < _END_OF_TIME else None


def require_shapes(said: Mapping[str, Any]) -> None:
    """Raise `TypeError` for a message or a delta whose text, calls or refusal are something else."""
    calls: Any = said.get("tool_calls") or []
    if not isinstance(calls, list):
        raise TypeError("tool_calls is not a list")
    for call in (*cast("list[Any]", calls), said.get("function_call")):
        if not isinstance(call, dict | None):
            raise TypeError("a call is not an object")
    if not isinstance(said.get("content"), str | list | None) or not isinstance(said.get("refusal"), str | None):
        raise TypeError("what is said is not text")


def put_text(said: dict[str, Any]) -> None:
    """Put a message's or a delta's text and reasoning where clients look for them.

    `reasoning`: https://openrouter.ai/docs/api-reference/overview, vLLM and Groq; a list of parts with `thinking`:
    https://docs.mistral.ai/capabilities/reasoning/.
    """
    content: Any = said.get("content")
    if isinstance(content, list):
        parts = cast("list[dict[str, Any]]", content)
        said["content"] = "".join(part.get("text") or "" for part in parts)
        if thoughts := "".join(_thought(part) for part in parts):
            said["reasoning_content"] = thoughts
    if isinstance(said.get("reasoning", ...), str | None):
        reasoning: str | None = said.pop("reasoning")
        if reasoning and not said.get("reasoning_content"):
            said["reasoning_content"] = reasoning


def finish_reason(reason: Any, said: dict[str, Any], *, has_calls: bool) -> str:
    """Give one of OpenAI's words; a new one is kept beside the message, and stands for an ordinary end."""
    if reason in FINISH_REASONS:
        return reason
    if reason:
        said["provider_specific_fields"] = {**(said.get("provider_specific_fields") or {}), "finish_reason": reason}
    return "tool_calls" if has_calls else "stop"


def refuse_failure(choice: Mapping[str, Any]) -> None:
    """Raise `UpstreamError` for a choice that ended in a failure, with the error that stands in it, if one does."""
    reason: Any = choice.get("finish_reason")
    if reason in _FAILURES:
        failed = UpstreamError(_FAILURES[reason], f"the server ended its answer with {reason!r}")
        raise refused_in_band(choice) if is_error(choice) else failed


def _thought(part: Mapping[str, Any]) -> str:
    thinking: Any = part.get("thinking") or ""
    if isinstance(thinking, str):
        return thinking
    return "".join(piece.get("text") or "" for piece in thinking)


def _choice(position: int, choice: dict[str, Any]) -> dict[str, Any]:
    refuse_failure(choice)
    message: dict[str, Any] = choice["message"]
    require_shapes(message)
    message["role"] = "assistant"
    message.setdefault("content", None)
    put_text(message)
    calls: list[dict[str, Any]] = message.get("tool_calls") or []
    for call in calls:
        _make_whole(call)
    if choice.get("index") is None:
        choice["index"] = position
    reason = choice.get("finish_reason") or _older_reason(choice)
    if reason is None and choice.get("finish_reason", "") is None:
        raise UpstreamError("invalid_response", "an answer that says that it has not ended")
    choice["finish_reason"] = finish_reason(reason, message, has_calls=bool(calls))
    return choice


def _older_reason(choice: Mapping[str, Any]) -> Any:
    """Read `finish_details`, which the first models with vision gave instead."""
    details: Mapping[str, Any] = choice.get("finish_details") or {}
    return {"max_tokens": "length"}.get(details.get("type", ""), details.get("type"))


def _make_whole(call: dict[str, Any]) -> None:
    if not call.get("id"):
        call["id"] = new_call_id()
    call["type"] = call.get("type") or "function"
    if call["type"] == "function":
        call["function"]["arguments"] = arguments_text(call["function"].get("arguments"))


def arguments_text(arguments: Any) -> str:
    """Give a call's arguments as text; some servers give the object itself, or nothing."""
    if isinstance(arguments, str):
        return arguments
    return write_json(arguments or {}).decode()
