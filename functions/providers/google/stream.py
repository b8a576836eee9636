"""A stream of generateContent responses as OpenAI's chunks.

Source: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
"""

from collections.abc import Callable
from typing import Any

from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Chunk
from functions.providers.google.candidate import CandidateReader
from functions.providers.google.decode import blocked_prompt, created_at, extra_of, metadata_of, placed, refuse_void
from functions.providers.google.usage import searches_in, usage_details, usage_of


class GoogleStream:
    """`StreamDecoder`: complete once every candidate that has begun has a finish reason; the wire has no other end."""

    def __init__(self, new_call_id: Callable[[], str]) -> None:
        self.is_complete = False
        self._new_call_id = new_call_id
        self._readers: dict[int, CandidateReader] = {}
        self._metadata: dict[str, Any] = {}
        self._searches = 0

    def decode(self, event: dict[str, Any]) -> list[Chunk]:
        """Give one chunk for a response: its parts as one delta for each candidate."""
        try:
            return [self._chunk(event)]
        except UpstreamError as error:
            error.usage = usage_of(event.get("usageMetadata"), self._searches)
            raise

    def _chunk(self, event: dict[str, Any]) -> Chunk:
        candidates: list[dict[str, Any]] = event.get("candidates") or []
        feedback: dict[str, Any] = event.get("promptFeedback") or {}
        if feedback.get("blockReason") and not candidates:
            candidates = blocked_prompt(event)
        if metadata := metadata_of(event):
            self._add_metadata(metadata)
        choices = [self._reader(index).read(candidate) for index, candidate in placed(candidates)]
        self.is_complete = bool(self._readers) and all(reader.has_ended for reader in self._readers.values())
        if self.is_complete:
            refuse_void(self._readers.values(), event.get("usageMetadata"))
        self._searches = max(self._searches, searches_in(candidates))  # the metadata comes whole, if more than once
        return Chunk(
            choices=choices,
            usage=usage_of(event.get("usageMetadata"), self._searches),
            usage_details=usage_details(event.get("usageMetadata")),
            response_id=event.get("responseId"),
            response_model=event.get("modelVersion"),
            created=created_at(event),
            extra=extra_of(event),
        )

    def _add_metadata(self, metadata: dict[str, Any]) -> None:
        self._metadata |= metadata
        for reader in self._readers.values():
            reader.add_metadata(metadata)

    def _reader(self, index: int) -> CandidateReader:
        if index not in self._readers:
            self._readers[index] = CandidateReader(index, self._new_call_id)
            self._readers[index].add_metadata(self._metadata)
        return self._readers[index]
