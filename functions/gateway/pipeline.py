"""The story of an answer: resolve, admit, walk the chain, record what it cost, let the last byte go."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

import anyio

from events.codec import encode
from events.money import NanoUsd
from events.spend import Outcome
from functions.gateway.config import Config
from functions.gateway.errors import AllModelsFailed, BadRequest, StoreUnavailable, StreamBroken, UpstreamError
from functions.gateway.headers import answer_headers
from functions.gateway.ports import (
    SPEND_EVENTS,
    Admission,
    Answer,
    Bus,
    ChatRequest,
    Chunk,
    Deployment,
    Embedder,
    EmbeddingRequest,
    Embeddings,
    Hold,
    Request,
    Upstream,
)
from functions.gateway.routing import Served, resolve, walk_chain
from functions.gateway.run import Caller, Run
from functions.gateway.wire import DONE, ChunkRenderer, render_answer, render_embeddings, render_stream_error

_RECORD_WITHIN_S = 20
_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedAnswer:
    """A whole answer as it leaves: its spend is recorded."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedStream:
    """A stream as it leaves: its first content has arrived. `events` must be closed by whoever iterates it."""

    headers: Mapping[str, str]
    events: AsyncGenerator[bytes]


class Completions:
    """Answers requests. `now` gives aware UTC time, `clock` monotonic seconds."""

    def __init__(
        self,
        *,
        config: Config,
        upstreams: Mapping[str, Upstream],
        embedders: Mapping[str, Embedder],
        admission: Admission,
        bus: Bus,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._upstreams = upstreams
        self._embedders = embedders
        self._admission = admission
        self._bus = bus
        self._now = now
        self._clock = clock

    async def answer(self, request: ChatRequest, caller: Caller) -> RenderedAnswer:
        """Answer whole. The spend event is acknowledged when this returns. Raises `GatewayError`."""
        chain = resolve(request, self._config.deployments, self._config.routing.fallbacks)
        run = Run(request, caller, started=self._clock())
        async with self._admission.hold(request, chain) as hold:
            served = await self._walk(run, hold, chain, partial(self._complete, request, run), lambda d: d.timeout_s)
            run.follow_answer(served.answer)
            await self._record(run, hold, "completed")
        model = shown_model(request, served.deployment)
        body = render_answer(
            served.answer,
            usage=run.usage,
            model=model,
            fallback_id=run.fallback_id,
            created=self._unix_time(),
            is_legacy=request.offers_functions,
        )
        dropped = self._upstreams[served.deployment.provider].dropped_params(request, served.deployment)
        return RenderedAnswer(headers=self._headers(run, served.deployment, run.cost, dropped), body=body)

    async def embed(self, request: EmbeddingRequest, caller: Caller) -> RenderedAnswer:
        """Give embeddings. The spend event is acknowledged when this returns. Raises `GatewayError`."""
        chain = resolve(request, self._config.deployments, self._config.routing.fallbacks)
        run = Run(request, caller, started=self._clock())
        async with self._admission.hold(request, chain) as hold:
            served = await self._walk(run, hold, chain, partial(self._embed, request, run), lambda d: d.timeout_s)
            run.follow_embeddings(served.answer)
            await self._record(run, hold, "completed")
        model = shown_model(request, served.deployment)
        encoding_format: str | None = request.body.get("encoding_format")
        body = render_embeddings(served.answer, run.usage, model=model, encoding_format=encoding_format)
        dropped = self._embedders[served.deployment.provider].dropped_params(request, served.deployment)
        return RenderedAnswer(headers=self._headers(run, served.deployment, run.cost, dropped), body=body)

    @asynccontextmanager
    async def stream(self, request: ChatRequest, caller: Caller) -> AsyncGenerator[RenderedStream]:
        """Answer in server-sent events, once the first content has arrived. Raises `GatewayError` before that.

        `[DONE]` leaves after the spend event is acknowledged; a stream that can't be finished ends with an error
        event instead. Leaving early stops the upstream and records what was consumed.
        """
        chain = resolve(request, self._config.deployments, self._config.routing.fallbacks)
        run = Run(request, caller, started=self._clock())
        async with self._admission.hold(request, chain) as hold, AsyncExitStack() as connection:
            opening = partial(self._open, request, run, connection)
            try:
                served = await self._walk(run, hold, chain, opening, lambda d: d.first_token_timeout_s)
            except anyio.get_cancelled_exc_class():
                await self._record_abandoned(run, hold)
                raise
            try:
                dropped = self._upstreams[served.deployment.provider].dropped_params(request, served.deployment)
                headers = self._headers(run, served.deployment, None, dropped)
                yield RenderedStream(headers=headers, events=self._events(request, run, served, hold))
            finally:
                if not run.is_concluded:
                    await connection.aclose()
                    with suppress(StoreUnavailable):  # logged; there is nobody left to tell
                        await self._record(run, hold, "client_disconnected")

    async def _complete(self, request: ChatRequest, run: Run, deployment: Deployment) -> Answer:
        run.ask(deployment)
        return await self._upstreams[deployment.provider].complete(request, deployment)

    async def _embed(self, request: EmbeddingRequest, run: Run, deployment: Deployment) -> Embeddings:
        run.ask(deployment)
        if deployment.provider not in self._embedders:
            raise UpstreamError("unsupported", f"{deployment.provider} has no embeddings")
        return await self._embedders[deployment.provider].embed(request, deployment)

    async def _open(
        self, request: ChatRequest, run: Run, connection: AsyncExitStack, deployment: Deployment
    ) -> AsyncIterator[Chunk]:
        """Open a stream and wait for its first content; the connection stays open only then."""
        run.ask(deployment)
        upstream = self._upstreams[deployment.provider]
        async with AsyncExitStack() as attempt:
            chunks = _followed(run, await attempt.enter_async_context(upstream.stream(request, deployment)))
            opening: list[Chunk] = []
            async for chunk in chunks:
                opening.append(chunk)
                if chunk.has_content:
                    run.see_first_content(self._clock())
                    connection.push_async_exit(attempt.pop_all())
                    return _chain(opening, chunks)
        raise UpstreamError("invalid_response", "the stream ended without an answer")

    async def _walk(
        self,
        run: Run,
        hold: Hold,
        chain: Sequence[Deployment],
        ask: Callable[[Deployment], Awaitable[T]],
        patience: Callable[[Deployment], float],
    ) -> Served[T]:
        try:
            return await walk_chain(
                chain,
                ask,
                patience=patience,
                clock=self._clock,
                deadline=self._deadline(run),
                attempts=run.attempts,
            )
        except AllModelsFailed:
            await self._report_failure(run, hold)
            raise
        except BadRequest:
            if run.is_billed or run.cost:
                await self._report_failure(run, hold)
            raise

    async def _events(
        self, request: ChatRequest, run: Run, served: Served[AsyncIterator[Chunk]], hold: Hold
    ) -> AsyncGenerator[bytes]:
        renderer = ChunkRenderer(
            model=shown_model(request, served.deployment),
            fallback_id=run.fallback_id,
            created=self._unix_time(),
            wants_usage=request.wants_usage,
            is_legacy=request.offers_functions,
        )
        try:
            async for chunk in _until(
                self._deadline(run),
                served.answer,
                idle_timeout_s=served.deployment.idle_timeout_s,
                clock=self._clock,
            ):
                if event := renderer.render(chunk):
                    yield event
            await self._record(run, hold, "completed")
        except UpstreamError as error:
            yield await self._broken(run, hold, error)
            return
        except StoreUnavailable as error:
            yield render_stream_error(error)
            return
        if request.wants_usage:
            yield renderer.render_usage(run.usage, run.usage_details)
        yield DONE

    async def _broken(self, run: Run, hold: Hold, error: UpstreamError) -> bytes:
        """Record what a broken stream has consumed, and say that it broke."""
        run.break_off(str(error.status), self._clock())
        try:
            await self._record(run, hold, "truncated")
        except StoreUnavailable as unavailable:
            return render_stream_error(unavailable)
        return render_stream_error(StreamBroken(run.attempts))

    async def _record(self, run: Run, hold: Hold, outcome: Outcome) -> None:
        """Have the spend event acknowledged. Raises `StoreUnavailable`; what can't be recorded is logged whole."""
        event = run.conclude(outcome, version=self._config.catalog_version, time=self._now(), clock=self._clock())
        try:
            with anyio.fail_after(_RECORD_WITHIN_S, shield=True):
                await self._bus.publish(SPEND_EVENTS, event)
        except (StoreUnavailable, TimeoutError) as error:
            _log.critical("spend could not be recorded (%s): %s", error, encode(event).decode())
            raise StoreUnavailable("The answer could not be recorded, so it is withheld. Try again shortly.") from error
        hold.settle(event.cost)

    async def _record_abandoned(self, run: Run, hold: Hold) -> None:
        """Record a request whose client left before the first content, by what its provider said that it bills."""
        if not run.is_billed:
            await self._report_failure(run, hold)
            return
        with suppress(StoreUnavailable):  # logged; there is nobody left to tell
            await self._record(run, hold, "client_disconnected")

    async def _report_failure(self, run: Run, hold: Hold) -> None:
        event = run.failed(version=self._config.catalog_version, time=self._now(), clock=self._clock())
        try:
            with anyio.fail_after(_RECORD_WITHIN_S, shield=True):
                await self._bus.publish(SPEND_EVENTS, event)
        except (StoreUnavailable, TimeoutError):
            _log.error("a failure could not be recorded: %s", encode(event).decode())
        if event.cost:
            hold.settle(event.cost)

    @staticmethod
    def _headers(run: Run, deployment: Deployment, cost: NanoUsd | None, dropped: tuple[str, ...]) -> Mapping[str, str]:
        return answer_headers(run.caller.request_id, deployment, run.attempts, cost=cost, dropped_params=dropped)

    def _deadline(self, run: Run) -> float:
        return run.started + self._config.request_timeout_s

    def _unix_time(self) -> int:
        return int(self._now().timestamp())


def shown_model(request: Request, deployment: Deployment) -> str:
    """Name the model in the answer: what was asked for, or after a fallback what answered, as LiteLLM does."""
    return request.alias if deployment.group == request.alias else deployment.upstream_model


async def _followed(run: Run, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
    async for chunk in chunks:
        run.follow(chunk)
        yield chunk


async def _chain(opening: list[Chunk], following: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
    for chunk in opening:
        yield chunk
    async for chunk in following:
        yield chunk


async def _until(
    deadline: float, chunks: AsyncIterator[Chunk], *, idle_timeout_s: float, clock: Callable[[], float]
) -> AsyncIterator[Chunk]:
    """Give a stream's chunks as long as the request may take. Raises `UpstreamError`.

    While the upstream's own bound on a silence is the nearer one, none is set for each chunk: that is dear.
    """
    while True:
        left = deadline - clock()
        try:
            async with nullcontext() if left > idle_timeout_s else asyncio.timeout(left):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise UpstreamError("timeout", "the request's time was over") from error
        if chunk is None:
            return
        yield chunk
