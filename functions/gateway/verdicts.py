"""What each upstream outcome means for the request: the one table of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from functions.gateway.errors import UpstreamError


class Verdict(Enum):
    """What an upstream's error means for the request."""

    RETRY = "a fault of the moment: ask the same deployment again, shortly"
    FALL_BACK_FIRST = "overloaded: ask the next; where there is none, the same again, after a back-off"
    FALL_BACK = "it failed, and would again: ask the next"
    REST = "it can serve nobody, for now: ask the next, and let it rest at once"
    UNFIT = "it can't serve this request, but others it can: ask the next"
    CONTEXT_WINDOW = "the input is too long for it: ask one with a larger window"
    CONTENT_POLICY = "it refuses the content: ask the chain for that, if there is one, or tell the sender"
    CLIENT_FAULT = "the request itself is at fault: its sender must change it"


SHORT_WAIT_S = 2.0  # the longest wait for the same deployment that beats asking another


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row: an error is meant that fulfils each condition that is set.

    Of `names`, the error's own code or type is one, or of `words` its message has some, in lower case, or it begins
    with one of `starts`. What a sender wrote may be quoted in a message, but not at its beginning.
    """

    verdict: Verdict
    statuses: frozenset[int | str] = frozenset()
    kinds: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    is_lasting: bool = False
    is_hinted: bool = False  # it says when to come again

    def means(self, error: UpstreamError) -> bool:
        """Say whether the error is one of these."""
        return (
            (not self.statuses or error.status in self.statuses)
            and (not self.kinds or (error.kind or "").lower() in self.kinds)
            and (not self.is_lasting or error.is_lasting)
            and (not self.is_hinted or error.retry_after_s is not None)
            and (not (self.names or self.words or self.starts) or self._is_named(error) or self._is_said(error))
        )

    def _is_named(self, error: UpstreamError) -> bool:
        return (error.code or "").lower() in self.names or (error.kind or "").lower() in self.names

    def _is_said(self, error: UpstreamError) -> bool:
        message = error.message.lower()
        return message.startswith(self.starts) or any(words in message for words in self.words)


# A file, or a cached content, is kept in one account: whoever has it may be the next. Google's are 403 and 400 too.
_FILES = (" file", "cached content", "cachedcontent")
_THIS_REQUEST = (
    _Row(statuses=frozenset({"unsupported", "unsupported_content"}), verdict=Verdict.UNFIT),  # nobody was asked
    _Row(statuses=frozenset({403, 404}), words=_FILES, starts=("file",), verdict=Verdict.UNFIT),
    _Row(kinds=frozenset({"failed_precondition"}), words=_FILES, starts=("file",), verdict=Verdict.UNFIT),
    _Row(
        verdict=Verdict.UNFIT,
        starts=(
            "request too large for",  # it alone is over the minute's limit: OpenAI's 429, Groq's 413
            "extra usage is required",  # for long contexts: Anthropic's 429 that no wait cures
            "the compiled grammar is too large", "compiled grammar is too large",
            "your organization must be verified",  # OpenAI, for streams and summaries of some models
        ),
    ),
)  # fmt: skip

# Whatever their status, 400 included, these are about our account there, or about a model that isn't served.
_OURS = (
    _Row(
        verdict=Verdict.REST,
        names=frozenset({
            "api_key_invalid",  # Google answers 400 to a bad key
            "failed_precondition",  # Google: location not supported, billing off
            "model_not_found", "model_decommissioned", "unknown_model", "deploymentnotfound", "operationnotsupported",
            "insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active",
        }),
    ),
    _Row(
        verdict=Verdict.REST,
        kinds=frozenset({"invalid_request_error"}),  # Anthropic's, with 400
        starts=(
            "your credit balance is too low",
            "you have reached your specified",  # API usage limits
            "this organization has been disabled",
        ),
    ),
)  # fmt: skip

_TOO_LONG = _Row(
    verdict=Verdict.CONTEXT_WINDOW,
    names=frozenset({
        "context_length_exceeded",  # OpenAI, Azure, Groq, Together
        "exceed_context_size_error",  # llama.cpp
        "model_context_window_exceeded",  # Anthropic's stop reason, where nothing was written
    }),
)  # fmt: skip

# An output limit is no window: "max_tokens is too large", "maximum allowed number of output tokens".
_SAID_TO_BE_TOO_LONG = _Row(
    verdict=Verdict.CONTEXT_WINDOW,
    statuses=frozenset({400, 413, 422, 500}),  # 500: Ollama
    words=(
        "context length", "context window", "context limit", "context size",  # vLLM, Mistral, DeepSeek, Ollama …
        "prompt is too long", "prompt too long", "input is too long", "input length exceeds", "input length and",
        "maximum prompt length",  # xAI
        "input token count",  # Google
        "input tokens exceed",
        "`inputs` tokens + `max_new_tokens`",  # text-generation-inference
        "reduce the length of the messages",
    ),
)  # fmt: skip

_CONTENT = _Row(
    verdict=Verdict.CONTENT_POLICY,
    names=frozenset({
        "content_filter", "content_policy_violation", "invalid_prompt", "moderation_blocked",
        "responsibleaipolicyviolation", "data_inspection_failed",
    }),
)  # fmt: skip

_SAID_TO_BE_CONTENT = _Row(
    verdict=Verdict.CONTENT_POLICY,
    statuses=frozenset({400, 403, 422}),
    words=(
        "content management policy",  # Azure
        "content filtering policy",  # Anthropic
        "violating our usage polic", "our safety system",  # OpenAI
        "violates usage guidelines",  # xAI
        "input was flagged",  # OpenRouter
    ),
)  # fmt: skip

_LIMITS = (
    _Row(statuses=frozenset({429}), is_lasting=True, verdict=Verdict.REST),
    _Row(statuses=frozenset({429}), is_hinted=True, verdict=Verdict.RETRY),
    _Row(statuses=frozenset({429}), words=("per hour", "per day", "per month"), verdict=Verdict.REST),
    _Row(statuses=frozenset({429}), words=("per minute", "per second"), verdict=Verdict.FALL_BACK_FIRST),
    # Anthropic's limit on a sudden growth names no figure and no time, and has soon passed.
    _Row(statuses=frozenset({429}), names=frozenset({"rate_limit_error"}), verdict=Verdict.RETRY),
    _Row(statuses=frozenset({429}), verdict=Verdict.FALL_BACK_FIRST),
)

_BY_STATUS = (
    _Row(statuses=frozenset({503, 529}), verdict=Verdict.FALL_BACK_FIRST),
    _Row(statuses=frozenset({408, 409, 500, 502}), verdict=Verdict.RETRY),
    _Row(statuses=frozenset({"connection_error", "broken_stream", "invalid_response"}), verdict=Verdict.RETRY),
    _Row(statuses=frozenset({400, 413, 415, 422}), verdict=Verdict.CLIENT_FAULT),
    _Row(statuses=frozenset({401, 402, 403, "no_api_key"}), verdict=Verdict.REST),  # our key, our credit
    _Row(statuses=frozenset({404}), words=("model",), verdict=Verdict.REST),
    # Whoever was too slow is so again: 504, 524, "timeout". A 404 that doesn't say of what is the path's, or ours.
    _Row(verdict=Verdict.FALL_BACK),
)

_TABLE = (*_THIS_REQUEST, *_OURS, _TOO_LONG, _SAID_TO_BE_TOO_LONG, _CONTENT, _SAID_TO_BE_CONTENT, *_LIMITS, *_BY_STATUS)


def judge(error: UpstreamError) -> Verdict:
    """Decide by the first row that means the error; where the same deployment wants a long wait, others come first.

    Sources: https://platform.claude.com/docs/en/api/errors, https://platform.openai.com/docs/guides/error-codes,
    https://ai.google.dev/gemini-api/docs/troubleshooting, and the answers themselves.
    """
    verdict = next(row.verdict for row in _TABLE if row.means(error))
    waits_long = error.retry_after_s is not None and error.retry_after_s > SHORT_WAIT_S
    return Verdict.FALL_BACK_FIRST if waits_long and verdict is Verdict.RETRY else verdict


def is_withheld(choices: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether an answer, or its first chunk, is nothing but the word that its content was filtered."""
    return bool(choices) and all(_is_filtered(choice) for choice in choices)


def _is_filtered(choice: Mapping[str, Any]) -> bool:
    said: Mapping[str, Any] = choice.get("message") or choice.get("delta") or {}
    return choice.get("finish_reason") == "content_filter" and not (said.get("content") or said.get("tool_calls"))


def withheld() -> UpstreamError:
    """Give such an answer the shape of a failure, for those who have another chain for it."""
    return UpstreamError("content_filter", "the answer was withheld by a content filter", code="content_filter")
