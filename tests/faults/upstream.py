"""`python -m tests.faults.upstream PORT`: many deployments in one server, each with a script of what it does next.

`http://127.0.0.1:PORT/<deployment>` is a provider's address, whichever wire is spoken to it. `PUT /scripts` takes
`{deployment: [behaviour, …]}`, `GET /seen` gives `{deployment: [request, …]}` of all, `GET /seen/<deployment>` of one.
It is written on sockets because what matters here is what HTTP servers don't do.
"""

import asyncio
import contextlib
import json
import socket
import struct
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.local.sandbox.reply import tokens_of
from tests.faults import wires
from tests.faults.behaviour import GOOD, Behaviour, from_json

_FOREVER_S = 3600.0
_BREATH_S = 0.005  # so that what was sent has left before a reset
_PIECES = 8  # of a whole answer that comes slowly
_GARBAGE = b'data: {"id": "cut off in the mid\n\n'


@dataclass(slots=True, kw_only=True)
class Seen:
    """One request. Times are in seconds of the machine's monotonic clock.

    `output_tokens` were generated, and would be billed, whether or not anybody read them; `reported` are the input and
    output tokens that the answer said, as far as it was sent.
    """

    began: float
    wire: str
    behaviour: str
    is_stream: bool
    prompt: str
    said: str = ""
    ended: float | None = None
    outcome: str = "under way"  # refused, answered, broken, left
    input_tokens: int = 0
    output_tokens: int = 0
    reported: tuple[int, int] | None = None
    body: dict[str, Any] = field(default_factory=dict[str, Any])

    def report(self, usage: wires.Usage | None) -> None:
        """An event with a usage was sent."""
        if usage is not None:
            known = self.reported or (0, 0)
            self.reported = (known[0] if usage[0] is None else usage[0], usage[1])


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


class Ended(Exception):
    """The connection is of no use any more."""


class BrokenOff(Exception):
    """The answer is over before its time, and the connection can carry another."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request."""

    method: str
    path: str
    body: bytes


class Connection:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> Request | None:
        """Give the next request, or nothing where there is none."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Request(method, target.partition("?")[0], body)

    async def pause(self, seconds: float) -> None:
        """Wait. Raises `ClientLeft` as soon as the client has."""
        if not seconds:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reader.read(1)
                raise ClientLeft

    async def send(self, data: bytes) -> None:
        """Send. Raises `ClientLeft` where that can't be."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError as error:
            raise ClientLeft from error

    async def head(self, status: int, headers: dict[str, str]) -> None:
        """Send an answer's head."""
        lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers.items())]
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def whole(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Send an answer that is complete."""
        await self.head(status, {**headers, "content-length": str(len(body))})
        await self.send(body)

    async def chunk(self, data: bytes) -> None:
        """Send a chunk of chunked coding; an empty one ends the answer."""
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def reset(self) -> None:
        """Reset the connection."""
        await asyncio.sleep(_BREATH_S)
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        raise Ended

    def close(self) -> None:
        """End it in good order."""
        self._writer.close()


class Scripted:
    """One deployment: what it does, in order."""

    def __init__(self, script: Sequence[Behaviour] = (GOOD,)) -> None:
        self._script = list(script)
        self._uses = 0
        self._since: float | None = None

    def next(self, now: float) -> Behaviour:
        """Say what happens to the request that has come."""
        while len(self._script) > 1 and self._is_over(self._script[0], now):
            self._script.pop(0)
            self._uses, self._since = 0, None
        self._uses += 1
        self._since = now if self._since is None else self._since
        return self._script[0]

    def _is_over(self, step: Behaviour, now: float) -> bool:
        if step.lasts_s is None:
            return self._uses >= step.times
        return self._since is not None and now >= self._since + step.lasts_s


class FaultyServer:
    """All deployments, and what they have seen."""

    def __init__(self) -> None:
        self._scripts: dict[str, Scripted] = defaultdict(Scripted)
        self._seen: dict[str, list[Seen]] = defaultdict(list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        connection = Connection(reader, writer)
        try:
            while request := await connection.read():
                await self._answer(request, connection)
        except (ClientLeft, Ended):
            pass
        finally:
            connection.close()

    async def _answer(self, request: Request, connection: Connection) -> None:
        deployment = wires.deployment_of(request.path)
        wire = wires.wire_of(request.path)
        if wire is not None:
            await self._speak(deployment, wire, request, connection)
        elif request.method == "PUT":
            scripts = from_json(json.loads(request.body))
            self._scripts.update({name: Scripted(script) for name, script in scripts.items()})
            await connection.whole(200, {}, b"{}")
        else:
            names = [request.path.removeprefix("/seen/")] if request.path.startswith("/seen/") else list(self._seen)
            seen = {name: [asdict(entry) for entry in self._seen[name]] for name in names}
            await connection.whole(200, {"content-type": "application/json"}, json.dumps(seen).encode())

    async def _speak(self, deployment: str, wire: str, request: Request, connection: Connection) -> None:
        body: dict[str, Any] = json.loads(request.body)
        asked = wires.read(wire, body, request.path)
        behaviour = self._scripts[deployment].next(time.monotonic())
        seen = Seen(
            began=time.monotonic(),
            wire=wire,
            behaviour=behaviour.name,
            is_stream=asked.question.is_stream,
            prompt=asked.prompt,
            said=asked.said,
            body=body,
        )
        self._seen[deployment].append(seen)
        try:
            with contextlib.suppress(BrokenOff):
                await Performance(connection, asked, behaviour, seen, body).run()
            if behaviour.closes_after:
                raise Ended
        except ClientLeft:
            seen.outcome = "left"
            raise
        finally:
            seen.ended = time.monotonic()


class Performance:
    """One answer, good or bad."""

    def __init__(
        self, connection: Connection, asked: wires.Asked, behaviour: Behaviour, seen: Seen, body: dict[str, Any]
    ) -> None:
        self._connection = connection
        self._asked = asked
        self._behaviour = behaviour
        self._seen = seen
        self._body = body

    async def run(self) -> None:
        """Do what the behaviour says."""
        behaviour, connection = self._behaviour, self._connection
        await connection.pause(behaviour.wait_s)
        if behaviour.opening != "answer":
            self._seen.outcome = "broken"
            if behaviour.opening == "reset":
                await connection.reset()
            raise Ended
        if behaviour.body is not None:
            self._seen.outcome = "refused"
            await connection.whole(behaviour.status, dict(behaviour.headers or {}), behaviour.body.encode())
            if wires.is_answer(behaviour.body):  # which is billed, whatever it is good for
                self._seen.input_tokens = wires.input_tokens(self._asked)
                self._seen.report(wires.usage_in(json.loads(behaviour.body)))
                if self._seen.reported:
                    self._seen.input_tokens, self._seen.output_tokens = self._seen.reported
            return
        if said := wires.refusal(self._asked, self._body):
            self._seen.outcome = "refused"
            refused, headers = wires.error(self._asked.wire, 400, said)
            await connection.whole(400, {**headers, "content-type": "application/json"}, json.dumps(refused).encode())
            return
        await (self._stream() if self._asked.question.is_stream else self._whole())

    async def _whole(self) -> None:
        """Answer whole: what was generated is billed as soon as the answer begins."""
        reply = wires.reply_to(self._asked, repeated_words=self._behaviour.repeated_words)
        value = wires.whole(self._asked, reply, uuid.uuid4().hex)
        if self._behaviour.lacks_usage:
            value = wires.without_usage(value)
        body = json.dumps(value).encode()
        self._seen.input_tokens, self._seen.output_tokens = reply.input_tokens, reply.output_tokens
        sent = body[: len(body) // 2] if self._behaviour.half else body
        await self._head("application/json", None if self._behaviour.half == "undeclared" else len(body))
        await self._connection.pause(self._behaviour.first_pause_s)
        if self._behaviour.half == "undeclared":
            await self._connection.chunk(sent)
            await self._connection.chunk(b"")
        else:
            await self._slowly(sent)
        if self._behaviour.half:
            self._seen.outcome = "broken"
            if self._behaviour.ending == "reset":
                await self._connection.reset()
            raise Ended
        self._seen.report(wires.usage_in(value))
        self._seen.outcome = "answered"

    async def _slowly(self, body: bytes) -> None:
        size = len(body) if not self._behaviour.pause_s else -(-len(body) // _PIECES)
        for start in range(0, len(body), size):
            await self._connection.pause(self._behaviour.pause_s)
            await self._connection.send(body[start : start + size])

    async def _head(self, content_type: str, length: int | None) -> None:
        coding = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        headers = {"content-type": content_type, **coding, **(self._behaviour.headers or {})}
        await self._connection.head(200, headers)
        if self._behaviour.cut_after == -1:
            await self._end()

    async def _stream(self) -> None:
        reply = wires.reply_to(self._asked, repeated_words=self._behaviour.repeated_words)
        self._seen.input_tokens = reply.input_tokens
        await self._head("text/event-stream", None)
        await self._connection.pause(self._behaviour.first_pause_s)
        async with contextlib.aclosing(self._events(reply)) as events:
            async for data in events:
                await self._connection.chunk(data)
        await self._connection.chunk(b"")
        self._seen.outcome = "answered"

    async def _events(self, reply: wires.Reply) -> AsyncGenerator[bytes]:
        """Give the stream's events at their time, with what is wrong with it."""
        behaviour, written, pieces = self._behaviour, "", 0
        for event in self._planned(reply):
            if pieces == behaviour.cut_after and (event.text or pieces):
                await self._end()
            await self._connection.pause(behaviour.pause_s)
            written += event.text
            pieces += bool(event.text)
            self._seen.output_tokens = tokens_of(written)
            yield event.data
            self._seen.report(event.usage)
            if not event.text and behaviour.has_duplicates:
                yield event.data
            if event.text and behaviour.has_empties:
                yield b"".join(wires.empty_events(self._asked.wire))
            if event.text and pieces == behaviour.garbage_after:
                yield _GARBAGE * behaviour.garbage_count

    def _planned(self, reply: wires.Reply) -> Iterator[wires.Event]:
        events: list[wires.Event] = list(wires.events_of(self._asked, reply, uuid.uuid4().hex))
        if self._behaviour.lacks_last:
            events.pop()
        if self._behaviour.lacks_usage:
            events = [kept for event in events if (kept := wires.without_usage_event(event))]
        return iter(events)

    async def _end(self) -> None:
        """Break off, in the way that is asked for."""
        connection = self._connection
        self._seen.outcome = "broken"
        match self._behaviour.ending:
            case "stall":
                await connection.pause(_FOREVER_S)
            case "reset":
                await connection.reset()
            case "close":
                raise Ended
            case "error":
                await connection.chunk(wires.error_event(self._asked.wire))
            case "bare_error":
                body, _ = wires.error(self._asked.wire, 503, "The service is currently unavailable.")
                await connection.chunk(json.dumps(body, indent=2).encode() + b"\n\n")
            case "end":
                pass
        await connection.chunk(b"")
        raise BrokenOff


async def main(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(FaultyServer().serve, "127.0.0.1", port, limit=2**24, backlog=1000)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1])))
