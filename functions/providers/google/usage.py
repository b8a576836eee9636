"""What a generateContent answer consumed. Source: https://ai.google.dev/api/generate-content#UsageMetadata"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from events.spend import Usage
from functions.providers.counts import NoCount, count

_COUNTS = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")


def usage_of(metadata: Mapping[str, Any] | None, searches: int = 0) -> Usage | None:
    """Read `usageMetadata`, or nothing where its counts are none, or not there yet, as in the first events of some."""
    if not metadata or all(metadata.get(name) is None for name in _COUNTS):
        return None
    with suppress(NoCount):
        return _usage(metadata, searches)
    return None


def _usage(metadata: Mapping[str, Any], searches: int) -> Usage:
    """Add up: the prompt includes cached tokens; tool results and thoughts stand beside it.

    An output that isn't counted is what the total leaves. Cached audio counts as cached, because that decides its
    price.
    """
    thoughts = count(metadata.get("thoughtsTokenCount"))
    prompt = count(metadata.get("promptTokenCount")) + count(metadata.get("toolUsePromptTokenCount"))
    written = count(metadata.get("candidatesTokenCount"))
    if metadata.get("candidatesTokenCount") is None:
        written = max(0, count(metadata.get("totalTokenCount")) - prompt - thoughts)
    return Usage(
        input_tokens=prompt,
        output_tokens=written + thoughts,
        cache_read_tokens=count(metadata.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
        audio_input_tokens=_audio(metadata),
        audio_output_tokens=_tokens_of("AUDIO", metadata.get("candidatesTokensDetails")),
        web_searches=searches,
    )


def usage_details(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Give what OpenAI's `usage` has no field for: counts by kind, with LiteLLM's names where it has them."""
    if not metadata:
        return {}
    prompt = _by_modality(metadata.get("promptTokensDetails"))
    if searched := metadata.get("toolUsePromptTokenCount"):
        prompt["tool_use_prompt_tokens"] = searched
    output = _by_modality(metadata.get("candidatesTokensDetails"))
    cached = _by_modality(metadata.get("cacheTokensDetails"))
    details: dict[str, Any] = {
        "prompt_tokens_details": {**prompt, **{f"cached_{name}": count for name, count in cached.items()}},
        "completion_tokens_details": output,
        "traffic_type": metadata.get("trafficType"),
    }
    return {name: value for name, value in details.items() if value}


def searches_in(candidates: Iterable[Mapping[str, Any]]) -> int:
    """Count the searches that Google ran, each of which it bills (https://ai.google.dev/gemini-api/docs/pricing)."""
    grounded: list[Mapping[str, Any]] = [candidate.get("groundingMetadata") or {} for candidate in candidates]
    return sum(bool(query) for metadata in grounded for query in metadata.get("webSearchQueries") or ())


def _by_modality(details: Iterable[Mapping[str, Any]] | None) -> dict[str, int]:
    """Give the counts under names such as `image_tokens`; audio has a field of its own."""
    counted = ((entry.get("modality") or "", entry.get("tokenCount") or 0) for entry in details or ())
    return {f"{modality.lower()}_tokens": count for modality, count in counted if modality not in ("", "AUDIO")}


def _audio(metadata: Mapping[str, Any]) -> int:
    asked = _tokens_of("AUDIO", metadata.get("promptTokensDetails"))
    searched = _tokens_of("AUDIO", metadata.get("toolUsePromptTokensDetails"))
    return max(0, asked + searched - _tokens_of("AUDIO", metadata.get("cacheTokensDetails")))


def _tokens_of(modality: str, details: Iterable[Mapping[str, Any]] | None) -> int:
    return sum(count(entry.get("tokenCount")) for entry in details or () if entry.get("modality") == modality)
