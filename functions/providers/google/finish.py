"""Why an answer ended. Source: https://ai.google.dev/api/generate-content#FinishReason"""

from functions.gateway.errors import UpstreamError

# Whatever is not named here, such as a reason of tomorrow, has cut the answer off: a filter.
_FINISH_REASONS = {"STOP": "stop", "MAX_TOKENS": "length", "FINISH_REASON_UNSPECIFIED": "stop"}
_ORDINARY = frozenset({"STOP", "MAX_TOKENS"})
_FAILURES = frozenset({
    "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE", "NO_IMAGE", "IMAGE_OTHER", "OTHER",
})  # fmt: skip

BLOCKED_PROMPT = "PROMPT_BLOCKED"  # ours, for an answer that has no candidate because its prompt was blocked


def finish_reason(reason: str, message: str | None, *, has_calls: bool) -> str:
    """Give OpenAI's word. Raises `UpstreamError` for an answer that the model failed to write."""
    if reason in _FAILURES:
        raise UpstreamError("invalid_response", f"the model ended with {reason}{f': {message}' if message else ''}")
    finish = _FINISH_REASONS.get(reason, "content_filter")
    return "tool_calls" if has_calls and finish == "stop" else finish


def is_ordinary(reason: str) -> bool:
    """Say whether OpenAI's word says as much as Google's."""
    return reason in _ORDINARY
