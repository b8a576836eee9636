"""Server-sent events, as far as the providers use them: the `data` of each event.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. `event`, `id` and
`retry` fields and comments are passed over, because each provider repeats the event's type inside its data. What is no
field at all is kept apart: Google writes an error that comes after whole events as bare JSON, over several lines.
"""

from functions.gateway.errors import UpstreamError

LONGEST_EVENT_BYTES = 32 * 1024 * 1024  # an answer's images come inside its events
_MOST_STRAY_BYTES = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PASSED_OVER = (b":", b"event:", b"id:", b"retry:")


class DataFramer:
    """Cuts a byte stream into the `data` of its events, wherever the network cut it. Lines end in LF, CRLF or CR."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the pieces of one that has not ended
        self._data: list[bytes] = []
        self._held_bytes = 0  # of an event that has not ended
        self._stray: list[bytes] = []
        self._stray_bytes = 0
        self._has_begun = False

    @property
    def stray(self) -> bytes:
        """The lines so far that are no field, or the beginning of them where they are many."""
        return b"\n".join(self._stray)

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes; give the data of every event that they complete.

        Raises `UpstreamError` for an event of more than `LONGEST_EVENT_BYTES`.
        """
        self._held_bytes += len(piece)
        if b"\n" in piece or b"\r" in piece:
            events = self._events(self._lines(piece))
        else:
            self._line.append(piece)  # a long line is put together once, not at every piece
            events = []
        if self._held_bytes > LONGEST_EVENT_BYTES:
            raise UpstreamError("invalid_response", f"an event of more than {LONGEST_EVENT_BYTES} bytes")
        return events

    def end(self) -> list[bytes]:
        """Give the data of an event that the stream ended without the blank line after it, whole or cut off."""
        return self.feed(b"\n\n")

    def _lines(self, piece: bytes) -> list[bytes]:
        """Cut the whole lines off. A CR at the end waits for what follows, which may be the LF of the same line end."""
        text = b"".join((*self._line, piece)) if self._line else piece
        ended = text.removesuffix(b"\r")
        lines = ended.splitlines()
        rest = b"" if not ended or ended.endswith((b"\n", b"\r")) else lines.pop()
        rest += text[len(ended) :]
        self._line = [rest] if rest else []
        if not self._has_begun and lines:
            self._has_begun, lines[0] = True, lines[0].removeprefix(_BYTE_ORDER_MARK)
        return lines

    def _events(self, lines: list[bytes]) -> list[bytes]:
        complete: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif line:
                if not line.startswith(_PASSED_OVER):
                    self._keep_stray(line)
            elif self._data:
                complete.append(b"\n".join(self._data))
                self._data = []
        if not self._data:
            self._held_bytes = len(self._line[0]) if self._line else 0
        return complete

    def _keep_stray(self, line: bytes) -> None:
        if self._stray_bytes < _MOST_STRAY_BYTES:
            self._stray.append(line[:_MOST_STRAY_BYTES])
            self._stray_bytes += len(line)
