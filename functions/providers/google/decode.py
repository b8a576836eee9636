"""A generateContent answer as OpenAI's.

Source: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from functions.gateway.errors import NOTHING_SAID, UpstreamError
from functions.gateway.ports import Answer
from functions.providers.google.candidate import CandidateReader
from functions.providers.google.finish import BLOCKED_PROMPT
from functions.providers.google.signatures import FIELD
from functions.providers.google.usage import searches_in, usage_details, usage_of

_HANDLED = frozenset({"candidates", "usageMetadata", "modelVersion", "responseId", "createTime"})
_SERVICE_TIERS = {"standard": "default", "flex": "flex", "priority": "priority"}  # Google's → OpenAI's
_LISTS = ("tool_calls", "thinking_blocks", "images", "annotations")


def decode_answer(body: Mapping[str, Any], new_call_id: Callable[[], str]) -> Answer:
    """Read a response. A blocked prompt is an answer that was filtered. Raises `UpstreamError` where it is none."""
    candidates: list[dict[str, Any]] = body.get("candidates") or blocked_prompt(body)
    readers = [(CandidateReader(index, new_call_id), candidate) for index, candidate in placed(candidates)]
    choices = [_choice(reader, candidate, metadata_of(body)) for reader, candidate in readers]
    refuse_void([reader for reader, _ in readers], body.get("usageMetadata"))
    return Answer(
        choices=choices,
        usage=usage_of(body.get("usageMetadata"), searches_in(candidates)),
        usage_details=usage_details(body.get("usageMetadata")),
        response_id=body.get("responseId"),
        response_model=body.get("modelVersion"),
        created=created_at(body),
        extra=extra_of(body),
    )


def blocked_prompt(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the candidate that a blocked prompt stands for. Raises `UpstreamError` where none was blocked."""
    feedback: Mapping[str, Any] = body.get("promptFeedback") or {}
    if not feedback.get("blockReason"):
        raise UpstreamError("invalid_response", "an answer without candidates")
    return [{"index": 0, "finishReason": BLOCKED_PROMPT}]


def placed(candidates: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Give each candidate with its index: of those that say none, the first that is free."""
    if len(candidates) == 1:
        return [(candidates[0].get("index") or 0, candidates[0])]
    taken = {candidate.get("index") for candidate in candidates}
    free = (index for index in itertools.count() if index not in taken)
    given = ((candidate.get("index"), candidate) for candidate in candidates)
    return [(next(free) if index is None else index, candidate) for index, candidate in given]


def refuse_void(readers: Collection[CandidateReader], usage: Mapping[str, Any] | None) -> None:
    """Raise `UpstreamError` where no candidate says anything, unless one has a place for it, and its tokens count.

    Gemini was seen to stop with an empty text that is counted as no tokens; another sample is often good.
    """
    has_written = bool((usage or {}).get("candidatesTokenCount"))
    if all(reader.is_void or (reader.is_blank and not has_written) for reader in readers):
        raise UpstreamError("invalid_response", "an answer without content", code=NOTHING_SAID)


def metadata_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a response says of itself that has no place of its own, such as `promptFeedback`."""
    return {name: value for name, value in body.items() if name not in _HANDLED}


def extra_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give OpenAI's further fields of an answer: at which service tier it was made."""
    usage: Mapping[str, Any] = body.get("usageMetadata") or {}
    tier = _SERVICE_TIERS.get(str(usage.get("serviceTier")).lower()) if "serviceTier" in usage else None
    return {"service_tier": tier} if tier else {}


def created_at(body: Mapping[str, Any]) -> int | None:
    """Give when an answer was made, in Unix seconds, where it says so."""
    if "createTime" in body:
        with suppress(ValueError, TypeError):
            return int(datetime.fromisoformat(body["createTime"]).timestamp())
    return None


def _choice(reader: CandidateReader, candidate: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Read a candidate. One that says nothing of its end has ended, provided that it says anything."""
    reader.add_metadata(metadata)
    choice = reader.read(candidate if candidate.get("finishReason") else {**candidate, "finishReason": "STOP"})
    delta: dict[str, Any] = choice.pop("delta")
    fields: dict[str, Any] = delta.get("provider_specific_fields") or {}
    for entries in (*(delta.get(name) for name in _LISTS), fields.get(FIELD)):
        for entry in entries or ():
            del entry["index"]
    return {**choice, "message": {"role": "assistant", "content": None, **delta}}
