"""Every place of OpenAI's answers: mapped, or why it is dropped. A place ending in `*` stands for all that begin so."""

from collections.abc import Mapping

MAPPED = "mapped"
_OBJECT = "a constant, which the gateway writes itself"
_EMPTY = "nothing is in it"
_TOTAL = "the sum of the two others, which the gateway computes"

ANSWER: Mapping[str, str] = {
    "id": MAPPED,
    "object": _OBJECT,
    "created": MAPPED,
    "model": MAPPED,  # into the spend event; a client is shown the name that it asked for
    "service_tier": MAPPED,
    "system_fingerprint": MAPPED,
    "prompt_filter_results[]*": MAPPED,
    "choices[].index": MAPPED,
    "choices[].finish_reason": MAPPED,
    "choices[].finish_details.type": MAPPED,
    "choices[].logprobs": MAPPED,
    "choices[].logprobs.*": MAPPED,
    "choices[].content_filter_results*": MAPPED,
    "choices[].message.role": "a constant; compatible servers write others",
    "choices[].message.content": MAPPED,
    "choices[].message.refusal": MAPPED,
    "choices[].message.annotations": MAPPED,
    "choices[].message.annotations[]*": MAPPED,
    "choices[].message.audio*": MAPPED,
    "choices[].message.tool_calls": MAPPED,
    "choices[].message.tool_calls[].*": MAPPED,
    "choices[].message.function_call": MAPPED,
    "choices[].message.function_call.*": MAPPED,
    "choices[].message.reasoning_content": MAPPED,
    "usage.prompt_tokens": MAPPED,
    "usage.completion_tokens": MAPPED,
    "usage.total_tokens": _TOTAL,
    "usage.prompt_tokens_details": _EMPTY,
    "usage.prompt_tokens_details.*": MAPPED,
    "usage.completion_tokens_details": _EMPTY,
    "usage.completion_tokens_details.*": MAPPED,
}

STREAM: Mapping[str, str] = {
    "id": MAPPED,
    "object": _OBJECT,
    "created": MAPPED,
    "model": MAPPED,
    "service_tier": MAPPED,
    "system_fingerprint": MAPPED,
    "obfuscation": MAPPED,
    "prompt_filter_results[]*": MAPPED,
    "choices": "nothing but usage is in such a chunk",
    "choices[].index": MAPPED,
    "choices[].finish_reason": MAPPED,
    "choices[].logprobs*": MAPPED,
    "choices[].content_filter_results*": MAPPED,
    "choices[].delta": "nothing is in it",
    "choices[].delta.role": "a constant, given once by choice",
    "choices[].delta.content": MAPPED,
    "choices[].delta.refusal": MAPPED,
    "choices[].delta.audio*": MAPPED,
    "choices[].delta.annotations*": MAPPED,
    "choices[].delta.reasoning_content": MAPPED,
    "choices[].delta.function_call": MAPPED,
    "choices[].delta.function_call.*": MAPPED,
    "choices[].delta.tool_calls": MAPPED,
    "choices[].delta.tool_calls[].*": MAPPED,
    "usage": "there is none in this chunk",
    "usage.prompt_tokens": MAPPED,
    "usage.completion_tokens": MAPPED,
    "usage.total_tokens": _TOTAL,
    "usage.prompt_tokens_details": _EMPTY,
    "usage.prompt_tokens_details.*": MAPPED,
    "usage.completion_tokens_details": _EMPTY,
    "usage.completion_tokens_details.*": MAPPED,
}

# Listed because held-back or rare answers have them, not because a recording here does.
RARE = frozenset({
    "choices[].message.audio*", "choices[].message.tool_calls", "choices[].message.function_call",
    "choices[].message.reasoning_content", "choices[].logprobs.*", "choices[].delta.audio*",
    "choices[].delta.annotations*", "choices[].delta.reasoning_content", "choices[].delta.function_call",
    "choices[].delta.function_call.*", "choices[].delta.tool_calls", "usage.prompt_tokens_details",
    "usage.completion_tokens_details",
})  # fmt: skip


def entry_of(name: str, table: Mapping[str, str]) -> str | None:
    """Find the table's entry for a place: its own, or the longest that begins it."""
    if name in table:
        return name
    beginnings = [entry for entry in table if entry.endswith("*") and name.startswith(entry[:-1])]
    return max(beginnings, key=len, default=None)
