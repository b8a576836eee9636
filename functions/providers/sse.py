"""Server-sent events, as far as the providers use them: the `data` of each event.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. Lines end in LF or
CRLF (no provider ends them in a lone CR); `event`, `id` and `retry` fields and comments are passed over, because each
provider repeats the event's type inside its data.
"""


class DataFramer:
    """Cuts a byte stream into the `data` of its events, wherever the network cut it."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes; give the data of every event that they complete."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        complete: list[bytes] = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                complete.append(b"\n".join(self._data))
                self._data = []
        return complete
