"""One provider as an `Upstream`: its wire translates, its client carries, and every failure gets one shape."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol

import httpx2

from events.spend import Usage
from functions.gateway.errors import UpstreamError
from functions.gateway.exact_json import read_json
from functions.gateway.ports import Answer, ChatRequest, Chunk, Deployment
from functions.providers.connections import Connections, broke_off
from functions.providers.event_reader import DONE, MALFORMED, EventReader, StreamDecoder
from functions.providers.refusals import error_in, is_error, refused_in_band, unreadable
from functions.providers.sse import DataFramer

_CONNECT_S = 5
_POOL_S = 5
_WRITE_S = 30
_AFTER_THE_END_S = 2  # for what may still come when an answer is whole: its usage, [DONE]


HeadersOf = Callable[[ChatRequest, Mapping[str, Any]], Mapping[str, str]]


class Wire(Protocol):
    """What a provider is asked and what its answers mean: values in, values out."""

    def encode(self, request: ChatRequest, deployment: Deployment) -> dict[str, Any]:
        """Give the body. Raises `BadRequest` for what can't be asked on this wire."""
        ...

    def dropped_params(self, request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name what `encode` leaves out, sorted."""
        ...

    def decode(self, body: dict[str, Any]) -> Answer:
        """Read a whole answer. Raises `UpstreamError` where it is none."""
        ...

    def usage_of(self, body: dict[str, Any]) -> Usage | None:
        """Read what a whole answer says that it consumed, good or bad."""
        ...

    def stream_decoder(self) -> StreamDecoder:
        """Start reading a stream."""
        ...


class Client(Protocol):
    """A provider's own SDK, used for transport alone."""

    async def send(
        self,
        body: dict[str, Any],
        deployment: Deployment,
        *,
        is_stream: bool,
        timeout: httpx2.Timeout,
        headers: Mapping[str, str],
    ) -> httpx2.Response:
        """Send one request, once, with further headers, and give the unread 2xx response. Raises `UpstreamError`."""
        ...

    async def warm_up(self) -> None:
        """Import the SDK."""
        ...


class ProviderUpstream:
    """`Upstream` from a wire and a client. `headers` gives those that a request and its body ask for."""

    def __init__(self, wire: Wire, client: Client, *, headers: HeadersOf = lambda _request, _body: {}) -> None:
        self._wire = wire
        self._client = client
        self._headers = headers

    async def complete(self, request: ChatRequest, deployment: Deployment) -> Answer:
        """Answer whole."""
        async with self._sent(request, deployment, deployment.timeout_s) as response:
            with transport_failures("connection_error"):
                content = await response.aread()
        body = json_object(content)
        try:
            with malformed_answers():
                return self._wire.decode(body)
        except UpstreamError as error:
            with suppress(*MALFORMED):
                error.usage = self._wire.usage_of(body)
            raise

    @asynccontextmanager
    async def stream(self, request: ChatRequest, deployment: Deployment) -> AsyncGenerator[AsyncIterator[Chunk]]:
        """Answer in chunks."""
        patience = max(deployment.first_token_timeout_s, deployment.idle_timeout_s)
        async with self._sent(request, deployment, patience) as response:
            if "text/event-stream" not in response.headers.get("content-type", "").lower():
                with transport_failures("connection_error"):
                    raise no_stream(await response.aread())
            reader = EventReader(self._wire.stream_decoder(), has_one_choice=request.body.get("n") in (None, 1))
            async with aclosing(_chunks(response, reader, deployment.idle_timeout_s)) as chunks:
                yield chunks

    def dropped_params(self, request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name what this provider isn't asked, sorted."""
        return self._wire.dropped_params(request, deployment)

    async def warm_up(self) -> None:
        """Import the SDK."""
        await self._client.warm_up()

    @asynccontextmanager
    async def _sent(
        self, request: ChatRequest, deployment: Deployment, read_s: float
    ) -> AsyncGenerator[httpx2.Response]:
        require_key(deployment)
        body = self._wire.encode(request, deployment)
        headers = self._headers(request, body)
        stream = request.is_stream
        async with sent(self._client, body, deployment, is_stream=stream, read_s=read_s, headers=headers) as response:
            yield response


def require_key(deployment: Deployment) -> None:
    """Raise `UpstreamError` for a deployment that can't be asked."""
    if deployment.api_key is None:
        raise UpstreamError("no_api_key", f"no API key is configured for {deployment.provider}")


@asynccontextmanager
async def sent(
    client: Client,
    body: dict[str, Any],
    deployment: Deployment,
    *,
    is_stream: bool,
    read_s: float,
    headers: Mapping[str, str],
) -> AsyncGenerator[httpx2.Response]:
    """Send a request within the bounds of every wire, and close its response. Raises `UpstreamError`."""
    timeout = httpx2.Timeout(connect=_CONNECT_S, read=read_s, write=_WRITE_S, pool=_POOL_S)
    with transport_failures("connection_error"):
        response = await client.send(body, deployment, is_stream=is_stream, timeout=timeout, headers=headers)
    try:
        yield response
    finally:
        await response.aclose()


class _Patience:
    """Until when a stream may be silent: before its first content the transport's own bound holds.

    After that only what a chunk carries ends a silence: a ping carries nothing. Times are those of the loop's clock.
    """

    def __init__(self, idle_timeout_s: float) -> None:
        self.until: float | None = None
        self._idle_timeout_s = idle_timeout_s
        self._clock = asyncio.get_running_loop().time
        self._has_ended = False

    def follow(self, chunk: Chunk) -> None:
        """A chunk has come, and is delivered."""
        if (chunk.has_content or (chunk.usage and self.until)) and not self._has_ended:
            self.until = self._clock() + self._idle_timeout_s

    def follow_end(self, *, has_ended: bool) -> None:
        """An event has come that may be the answer's end, or show that an earlier one was not."""
        if has_ended != self._has_ended:
            self._has_ended = has_ended
            left_s = min(_AFTER_THE_END_S, self._idle_timeout_s) if has_ended else self._idle_timeout_s
            self.until = self._clock() + left_s


async def _chunks(response: httpx2.Response, reader: EventReader, idle_timeout_s: float) -> AsyncGenerator[Chunk]:
    """Give the chunks of a stream. Raises `UpstreamError` where it doesn't come to its end."""
    framer, patience = DataFramer(), _Patience(idle_timeout_s)
    pieces = response.aiter_bytes()
    while (piece := await _next(pieces, patience.until, framer, reader)) is not None:
        for data in framer.feed(piece):
            for chunk in reader.read(data):
                yield chunk
                patience.follow(chunk)
            patience.follow_end(has_ended=reader.has_ended)
    for data in filter(_is_whole, framer.end()):
        for chunk in reader.read(data):
            yield chunk
    if failure := _failure_in(framer.stray):
        raise failure
    if not reader.is_complete:
        raise UpstreamError("broken_stream", "the stream ended before its end")


async def _next(
    pieces: AsyncIterator[bytes], until: float | None, framer: DataFramer, reader: EventReader
) -> bytes | None:
    """Wait for the next bytes. Once the answer is whole, a silence or a broken connection is the end like any other."""
    try:
        with transport_failures("broken_stream"):
            async with asyncio.timeout_at(until):
                return await anext(pieces, None)
    except UpstreamError as failure:
        if reader.has_ended:
            return None
        raise _failure_in(framer.stray) or failure from failure.__cause__


def _failure_in(stray: bytes) -> UpstreamError | None:
    """Describe the error that came without being an event, even if it was cut off."""
    if (error := error_in(stray)) is not None:
        return error
    is_cut_off = stray.lstrip().startswith((b"{", b"[")) and not _is_json(stray)
    return UpstreamError("broken_stream", f"the stream broke off: {stray[:100]!r}") if is_cut_off else None


def _is_whole(data: bytes) -> bool:
    """Say whether the last event came whole: what is cut off is no JSON."""
    return data == DONE or (data.lstrip().startswith(b"{") and _is_json(data))


def _is_json(data: bytes) -> bool:
    try:
        read_json(data)
    except ValueError:
        return False
    return True


def json_object(content: bytes) -> dict[str, Any]:
    """Parse one JSON object that is no error. Raises `UpstreamError`."""
    try:
        value = read_json(content)
    except ValueError as error:
        raise unreadable(content) from error
    if is_error(value):
        raise refused_in_band(value)
    if not isinstance(value, dict):
        raise unreadable(content)
    return value  # pyright: ignore[reportUnknownVariableType]


def no_stream(content: bytes) -> UpstreamError:
    """Describe what came in place of a stream."""
    try:
        json_object(content)
    except UpstreamError as error:
        return error
    return unreadable(content)


@contextmanager
def malformed_answers() -> Generator[None]:
    """Give an answer that lacks what its wire promises the shape of a failure."""
    try:
        yield
    except MALFORMED as error:
        raise UpstreamError("invalid_response", f"the answer is malformed: {error!r}") from error


@contextmanager
def transport_failures(broken: str) -> Generator[None]:
    """Give the HTTP library's failures their one shape; `broken` is the status of a connection that broke."""
    try:
        yield
    except (httpx2.TimeoutException, TimeoutError) as error:
        raise UpstreamError("timeout", "the provider fell silent") from error
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise broke_off(broken, error, f"the connection failed: {type(error).__name__}") from error


def http_client() -> httpx2.AsyncClient:
    """Make the connection pool that the SDKs share. No redirects are followed."""
    return httpx2.AsyncClient(transport=Connections(), follow_redirects=False)
