"""Where an answer has its claims from, as OpenAI's `url_citation` annotations.

Google counts in bytes of UTF-8, OpenAI in characters. What has no address (a file search) has no annotation; all of it
stands as it came in `provider_specific_fields`.

Sources: https://ai.google.dev/api/generate-content#GroundingMetadata,
https://ai.google.dev/api/generate-content#CitationSource
"""

from collections.abc import Iterator, Mapping
from typing import Any


def annotations_of(metadata: Mapping[str, Any], text: str) -> list[dict[str, Any]]:
    """Give the citations of a whole text. `metadata` has Google's names, in snake case."""
    grounding: Mapping[str, Any] = metadata.get("grounding_metadata") or {}
    cited: Mapping[str, Any] = metadata.get("citation_metadata") or {}
    sources: list[dict[str, Any]] = cited.get("citationSources") or cited.get("citations") or []
    if not sources and not grounding.get("groundingSupports"):
        return []
    raw = text.encode()
    quoted = [_annotation(source, source, raw) for source in sources if source.get("uri")]
    return [*_supported(grounding, raw), *quoted]


def _supported(grounding: Mapping[str, Any], raw: bytes) -> Iterator[dict[str, Any]]:
    chunks: list[dict[str, Any]] = grounding.get("groundingChunks") or []
    for support in grounding.get("groundingSupports") or ():
        for index in support.get("groundingChunkIndices") or ():
            source = _source(chunks, index)
            if source.get("uri"):
                yield _annotation(source, support.get("segment") or {}, raw)


def _source(chunks: list[dict[str, Any]], index: int) -> Mapping[str, Any]:
    """Give what a chunk is of: `web`, `maps`, `image` or `retrievedContext`."""
    chunk: Mapping[str, Any] = chunks[index] if index < len(chunks) else {}
    sources: list[dict[str, Any]] = [source for source in chunk.values() if source]
    return sources[0] if sources else {}


def _annotation(source: Mapping[str, Any], segment: Mapping[str, Any], raw: bytes) -> dict[str, Any]:
    citation = {
        "start_index": _characters(raw, segment.get("startIndex") or 0),
        "end_index": _characters(raw, segment.get("endIndex") or 0),
        "url": source["uri"],
        "title": source.get("title") or "",
    }
    return {"type": "url_citation", "url_citation": citation}


def _characters(raw: bytes, count: int) -> int:
    return len(raw[:count].decode(errors="ignore"))
