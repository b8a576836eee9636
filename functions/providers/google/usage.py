"""What a generateContent answer consumed. Source: https://ai.google.dev/api/generate-content#UsageMetadata"""

from collections.abc import Iterable, Mapping
from typing import Any

from events.spend import Usage

_COUNTS = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")


def usage_of(metadata: Mapping[str, Any] | None, searches: int = 0) -> Usage | None:
    """Read `usageMetadata`: the prompt includes cached tokens; tool results and thoughts stand beside it.

    Nothing where it has no counts yet, as in the first events of some streams. An output that isn't counted is what
    the total leaves. Cached audio counts as cached, because that decides its price.
    """
    if not metadata or all(metadata.get(name) is None for name in _COUNTS):
        return None
    thoughts: int = metadata.get("thoughtsTokenCount") or 0
    prompt: int = (metadata.get("promptTokenCount") or 0) + (metadata.get("toolUsePromptTokenCount") or 0)
    rest: int = max(0, (metadata.get("totalTokenCount") or 0) - prompt - thoughts)
    counted: Any = metadata.get("candidatesTokenCount")
    written: int = rest if counted is None else counted
    return Usage(
        input_tokens=prompt,
        output_tokens=written + thoughts,
        cache_read_tokens=metadata.get("cachedContentTokenCount") or 0,
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
    return sum(entry.get("tokenCount") or 0 for entry in details or () if entry.get("modality") == modality)
