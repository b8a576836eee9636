"""A stream's events as its decoder reads them: a garbled one is borne, more are not."""

from collections.abc import Iterator
from typing import Any, Protocol, cast

from functions.gateway.errors import UpstreamError
from functions.gateway.exact_json import read_json
from functions.gateway.ports import Chunk
from functions.providers.refusals import is_error, refused_in_band

DONE = b"[DONE]"
MOST_MALFORMED = 3  # of one stream, and never two in a row
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)  # what reading such an answer raises


class StreamDecoder(Protocol):
    """Turns one stream's events into chunks. `is_complete` once the provider's own end of stream was seen."""

    is_complete: bool

    def decode(self, event: dict[str, Any]) -> list[Chunk]:
        """Give the chunks that an event stands for."""
        ...


class EventReader:
    """Reads the `data` of events in order. `has_one_choice` says that the answer's end is that of its first choice."""

    def __init__(self, decoder: StreamDecoder, *, has_one_choice: bool = True) -> None:
        self._decoder = decoder
        self._has_one_choice = has_one_choice
        self._is_done = False
        self._has_gone_on = False  # after what seemed to be the end
        self._malformed = 0
        self._malformed_in_a_row = 0

    @property
    def is_complete(self) -> bool:
        """Say whether the answer is whole, provided that the connection has ended as it should."""
        return self._decoder.is_complete

    @property
    def has_ended(self) -> bool:
        """Say whether the answer is whole, however the connection ends."""
        is_last = self._is_done or (self._has_one_choice and not self._has_gone_on)
        return is_last and self._decoder.is_complete

    def read(self, data: bytes) -> Iterator[Chunk]:
        """Give the chunks of an event; for a malformed one, an empty chunk that says so.

        Raises `UpstreamError` for an error in the band, and where too many events are malformed. After the end none is.
        """
        try:
            chunks = self._chunks_of(data)
        except MALFORMED as error:
            yield Chunk(choices=[], malformed=1)
            self._bear(error)
            return
        yield from chunks

    def _chunks_of(self, data: bytes) -> list[Chunk]:
        if not data.strip():  # some servers keep the connection alive with these
            return []
        event = self._event_of(data)
        if is_error(event):
            if self.has_ended:  # what is whole stays so
                return []
            raise refused_in_band(event)
        was_complete = self._decoder.is_complete
        chunks = self._decoder.decode(event)
        if was_complete and any(map(_says_more, chunks)):
            self._has_gone_on = True
        self._malformed_in_a_row = 0
        return chunks

    def _event_of(self, data: bytes) -> dict[str, Any]:
        if data == DONE:
            self._is_done = True
            return {"type": "[DONE]"}
        event = _parsed(data)
        if not isinstance(event, dict):
            raise TypeError("not an object")
        return cast("dict[str, Any]", event)

    def _bear(self, error: Exception) -> None:
        self._malformed += 1
        self._malformed_in_a_row += 1
        if not self.has_ended and (self._malformed > MOST_MALFORMED or self._malformed_in_a_row > 1):
            raise UpstreamError("invalid_response", f"the stream is malformed: {error!r}"[:200]) from error


def _parsed(data: bytes) -> Any:
    """Parse; bytes that are no UTF-8 are replaced, as any reader of the text would do, rather than all of it lost."""
    try:
        return read_json(data)
    except ValueError:
        text = data.decode(errors="replace")
        if "\ufffd" not in text:
            raise
        return read_json(text)


def _says_more(chunk: Chunk) -> bool:
    deltas: list[dict[str, Any]] = [choice.get("delta") or {} for choice in chunk.choices]
    return any(value for delta in deltas for name, value in delta.items() if name != "role")
