"""What a generateContent answer consumed. Source: https://ai.google.dev/api/generate-content#UsageMetadata"""

from collections.abc import Iterable, Mapping
from typing import Any

from events.spend import Usage

_COUNTS = frozenset({"promptTokenCount", "candidatesTokenCount", "totalTokenCount"})


def usage_of(metadata: Mapping[str, Any] | None) -> Usage | None:
    """Read `usageMetadata`: the prompt includes cached tokens; tool results and thoughts stand beside it.

    Nothing where it has no counts yet, as in the first events of some streams. An output that isn't counted is what
    the total leaves. Cached audio counts as cached, because that decides its price.
    """
    if not metadata or _COUNTS.isdisjoint(metadata):
        return None
    thoughts: int = metadata.get("thoughtsTokenCount") or 0
    prompt: int = (metadata.get("promptTokenCount") or 0) + (metadata.get("toolUsePromptTokenCount") or 0)
    rest: int = max(0, (metadata.get("totalTokenCount") or 0) - prompt - thoughts)
    written: int = metadata.get("candidatesTokenCount", rest)
    return Usage(
        input_tokens=prompt,
        output_tokens=written + thoughts,
        cache_read_tokens=metadata.get("cachedContentTokenCount") or 0,
        reasoning_tokens=thoughts,
        audio_input_tokens=_audio(metadata),
    )


def _audio(metadata: Mapping[str, Any]) -> int:
    sent = _audio_of(metadata.get("promptTokensDetails")) + _audio_of(metadata.get("toolUsePromptTokensDetails"))
    return max(0, sent - _audio_of(metadata.get("cacheTokensDetails"))) if sent else 0


def _audio_of(details: Iterable[Mapping[str, Any]] | None) -> int:
    return sum(entry.get("tokenCount") or 0 for entry in details or () if entry.get("modality") == "AUDIO")
