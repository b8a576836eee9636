"""Asking one deployment, for each kind of answer."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import anyio

from functions.gateway.errors import NOTHING_SAID, UpstreamError
from functions.gateway.health import Fleet
from functions.gateway.ports import (
    Answer,
    ChatRequest,
    Chunk,
    Deployment,
    Embedder,
    EmbeddingRequest,
    Embeddings,
    Request,
    Upstream,
)
from functions.gateway.run import OpenAttempt
from functions.gateway.verdicts import is_withheld, withheld

_CLOSED_WITHIN_S = 5
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream whose first content has arrived, and the connection that it comes on."""

    chunks: AsyncIterator[Chunk]
    connection: AsyncExitStack

    async def close(self) -> None:
        """Close the connection, which stops the meter."""
        with anyio.move_on_after(_CLOSED_WITHIN_S, shield=True):
            await self.connection.aclose()


def _never(_: Deployment) -> None:
    return None


async def _as_it_is(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking(Generic[T]):
    """How a deployment is asked the `request`.

    `prepare` sets up what is set up once, such as an SDK, which counts as nobody's time; `ask` gives the answer, or its
    beginning, or raises `UpstreamError`; `patience` bounds that, in seconds; `hedge_after_s` says after which time
    another is asked beside it, if at all; `discard` ends an answer that came second.
    """

    request: Request
    prepare: Callable[[Deployment], Awaitable[None]]
    ask: Callable[[OpenAttempt], Awaitable[T]]
    patience: Callable[[Deployment], float]
    hedge_after_s: Callable[[Deployment], float | None] = _never
    discard: Callable[[T], Awaitable[None]] = _as_it_is


class Askings:
    """Makes the `Asking` for each kind of answer.

    `has_lenient` says that there are others to ask where the content is withheld, so that this is no answer.
    """

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        embedders: Mapping[str, Embedder],
        fleet: Fleet,
        *,
        hedge_percentile: int | None,
        clock: Callable[[], float],
    ) -> None:
        self._upstreams = upstreams
        self._embedders = embedders
        self._fleet = fleet
        self._hedge_percentile = hedge_percentile
        self._clock = clock

    def answer(self, request: ChatRequest, *, has_lenient: bool) -> Asking[Answer]:
        """Ask for a whole answer."""
        return self._whole(request, partial(self._complete, request, has_lenient))

    def embeddings(self, request: EmbeddingRequest) -> Asking[Embeddings]:
        """Ask for embeddings."""
        return self._whole(request, partial(self._embed, request))

    def stream(self, request: ChatRequest, *, has_lenient: bool) -> Asking[OpenStream]:
        """Ask for a stream."""
        return self._streamed(request, partial(self._open, request, has_lenient))

    def rest(self, request: ChatRequest) -> Asking[OpenStream]:
        """Ask for a stream that goes on with one that broke off."""
        return self._streamed(request, partial(self._open_rest, request))

    def _whole(self, request: Request, ask: Callable[[OpenAttempt], Awaitable[T]]) -> Asking[T]:
        return Asking(request=request, prepare=self._prepare, ask=ask, patience=lambda d: d.timeout_s)

    def _streamed(self, request: Request, ask: Callable[[OpenAttempt], Awaitable[OpenStream]]) -> Asking[OpenStream]:
        return Asking(
            request=request,
            prepare=self._prepare,
            ask=ask,
            patience=lambda d: d.first_token_timeout_s,
            hedge_after_s=self._hedge_after_s,
            discard=OpenStream.close,
        )

    async def _prepare(self, deployment: Deployment) -> None:
        await self._upstreams[deployment.provider].warm_up()

    def _hedge_after_s(self, deployment: Deployment) -> float | None:
        if self._hedge_percentile is None:
            return None
        return self._fleet.of(deployment).first_token_percentile_s(self._hedge_percentile, self._clock())

    async def _complete(self, request: ChatRequest, has_lenient: bool, attempt: OpenAttempt) -> Answer:
        answer = await self._upstreams[attempt.deployment.provider].complete(request, attempt.deployment)
        attempt.follow_answer(answer)
        if has_lenient and is_withheld(answer.choices):
            raise withheld()
        return answer

    async def _embed(self, request: EmbeddingRequest, attempt: OpenAttempt) -> Embeddings:
        provider = attempt.deployment.provider
        if provider not in self._embedders:
            raise UpstreamError("unsupported", f"{provider} has no embeddings")
        embeddings = await self._embedders[provider].embed(request, attempt.deployment)
        attempt.follow_embeddings(embeddings)
        return embeddings

    async def _open(self, request: ChatRequest, has_lenient: bool, attempt: OpenAttempt) -> OpenStream:
        """Open a stream and wait for its first content; the connection stays open only then."""
        upstream = self._upstreams[attempt.deployment.provider]
        async with AsyncExitStack() as connection:
            arriving = await connection.enter_async_context(upstream.stream(request, attempt.deployment))
            chunks = _followed(attempt, arriving)
            opening: list[Chunk] = []
            async for chunk in chunks:
                opening.append(chunk)
                if chunk.has_content:
                    if has_lenient and is_withheld(chunk.choices):
                        raise withheld()
                    attempt.first_content = self._clock()
                    return OpenStream(_chain(opening, chunks), connection.pop_all())
        raise UpstreamError("invalid_response", "the stream ended without an answer")

    async def _open_rest(self, request: ChatRequest, attempt: OpenAttempt) -> OpenStream:
        """Where there is nothing to add, the answer's end is all that comes."""
        try:
            return await self._open(request, False, attempt)
        except UpstreamError as error:
            if error.code != NOTHING_SAID:
                raise
            end = Chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=error.usage)
            attempt.follow(end)
            return OpenStream(_chain([end]), AsyncExitStack())


async def _followed(attempt: OpenAttempt, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
    async for chunk in chunks:
        attempt.follow(chunk)
        yield chunk


async def _chain(opening: list[Chunk], following: AsyncIterator[Chunk] | None = None) -> AsyncIterator[Chunk]:
    for chunk in opening:
        yield chunk
    if following is not None:
        async for chunk in following:
            yield chunk
