"""Server-sent events, as far as the providers use them: the `data` of each event.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. Lines end in LF or
CRLF (no provider ends them in a lone CR); `event`, `id` and `retry` fields and comments are passed over, because each
provider repeats the event's type inside its data.
"""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class DataFramer:
    """Cuts a byte stream into the `data` of its events, wherever the network cut it."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the pieces of one that has not ended
        self._data: list[bytes] = []
        self._has_begun = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes; give the data of every event that they complete."""
        if b"\n" not in piece:  # a long line is put together once, not at every piece
            self._line.append(piece)
            return []
        *lines, rest = b"".join((*self._line, piece)).split(b"\n")
        self._line = [rest]
        if not self._has_begun:
            self._has_begun, lines[0] = True, lines[0].removeprefix(_BYTE_ORDER_MARK)
        return self._events(lines)

    def end(self) -> list[bytes]:
        """Give the data of an event that the stream ended without the blank line after it, whole or cut off."""
        return self.feed(b"\n\n")

    def _events(self, lines: list[bytes]) -> list[bytes]:
        complete: list[bytes] = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                complete.append(b"\n".join(self._data))
                self._data = []
        return complete
