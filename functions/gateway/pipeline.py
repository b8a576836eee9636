"""The story of an answer: resolve, admit, walk the chain, record what it cost, let the last byte go."""

import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

import anyio

from events.codec import encode
from events.money import NanoUsd
from events.spend import Outcome
from functions.gateway.chains import Chain, resolve
from functions.gateway.config import Config
from functions.gateway.errors import (
    NOTHING_SAID,
    AllModelsFailed,
    BadRequest,
    StoreUnavailable,
    StreamBroken,
    UpstreamError,
)
from functions.gateway.headers import answer_headers
from functions.gateway.health import Fleet
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
from functions.gateway.relay import OpenStream, Relay
from functions.gateway.routing import Plan
from functions.gateway.run import Caller, OpenAttempt, Run
from functions.gateway.verdicts import is_withheld, withheld
from functions.gateway.walk import Asking, Served, Walk
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


def _unnoticed() -> None:
    return None


class Completions:
    """Answers requests. `now` gives aware UTC time, `clock` monotonic seconds, `random` a number from 0 to 1.

    `notice_request` is called once for each, and returns at once.
    """

    def __init__(
        self,
        *,
        config: Config,
        upstreams: Mapping[str, Upstream],
        embedders: Mapping[str, Embedder],
        fleet: Fleet,
        admission: Admission,
        bus: Bus,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        random: Callable[[], float],
        notice_request: Callable[[], None] = _unnoticed,
    ) -> None:
        self._config = config
        self._upstreams = upstreams
        self._embedders = embedders
        self._fleet = fleet
        self._admission = admission
        self._bus = bus
        self._now = now
        self._clock = clock
        self._random = random
        self._notice_request = notice_request

    async def answer(self, request: ChatRequest, caller: Caller) -> RenderedAnswer:
        """Answer whole. The spend event is acknowledged when this returns. Raises `GatewayError`."""
        chain, run = self._begin(request, caller)
        async with self._admission.hold(request, list(chain.deployments())) as hold:
            served = await self._served(run, hold, chain, partial(self._complete, request, chain))
            await self._record(run, hold, "completed")
        body = render_answer(
            served.answer,
            usage=run.usage,
            model=shown_model(request, served.deployment),
            fallback_id=run.fallback_id,
            created=self._unix_time(),
            is_legacy=request.offers_functions,
        )
        dropped = self._upstreams[served.deployment.provider].dropped_params(request, served.deployment)
        return RenderedAnswer(headers=self._headers(run, served.deployment, run.cost, dropped), body=body)

    async def embed(self, request: EmbeddingRequest, caller: Caller) -> RenderedAnswer:
        """Give embeddings. The spend event is acknowledged when this returns. Raises `GatewayError`."""
        chain, run = self._begin(request, caller)
        async with self._admission.hold(request, list(chain.deployments())) as hold:
            served = await self._served(run, hold, chain, partial(self._embed, request))
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
        chain, run = self._begin(request, caller)
        async with self._admission.hold(request, list(chain.deployments())) as hold:
            plan = self._plan(run, chain)
            try:
                served = await self._walk(run, hold, self._opened(run, plan, request))
            except anyio.get_cancelled_exc_class():
                await self._record_abandoned(run, hold)
                raise
            run.answers(served.attempt, self._clock())
            relay = self._relay(run, plan, served, request)
            try:
                dropped = self._upstreams[served.deployment.provider].dropped_params(request, served.deployment)
                headers = self._headers(run, served.deployment, None, dropped)
                yield RenderedStream(headers=headers, events=self._events(request, run, relay, hold))
            finally:
                if not run.is_concluded:
                    await relay.abandon()
                    with suppress(StoreUnavailable):  # logged; there is nobody left to tell
                        await self._record(run, hold, "client_disconnected")

    def _begin(self, request: Request, caller: Caller) -> tuple[Chain, Run]:
        """Find out who may be asked. Raises `ModelNotAllowed`, `ModelNotFound`, `BadRequest`."""
        self._notice_request()
        chain = resolve(request, self._config.deployments, self._config.routing, caller.models)
        return chain, Run(request, caller, started=self._clock())

    def _plan(self, run: Run, chain: Chain) -> Plan:
        policy = self._config.routing
        return Plan(run.request, chain, self._fleet, policy, now=run.started, random=self._random)

    async def _complete(self, request: ChatRequest, chain: Chain, attempt: OpenAttempt) -> Answer:
        answer = await self._upstreams[attempt.deployment.provider].complete(request, attempt.deployment)
        attempt.follow_answer(answer)
        if chain.lenient and is_withheld(answer.choices):
            raise withheld()
        return answer

    async def _embed(self, request: EmbeddingRequest, attempt: OpenAttempt) -> Embeddings:
        provider = attempt.deployment.provider
        if provider not in self._embedders:
            raise UpstreamError("unsupported", f"{provider} has no embeddings")
        embeddings = await self._embedders[provider].embed(request, attempt.deployment)
        attempt.follow_embeddings(embeddings)
        return embeddings

    async def _open(self, request: ChatRequest, plan: Plan, attempt: OpenAttempt) -> OpenStream:
        """Open a stream and wait for its first content; the connection stays open only then."""
        upstream = self._upstreams[attempt.deployment.provider]
        async with AsyncExitStack() as connection:
            chunks = _followed(
                attempt, await connection.enter_async_context(upstream.stream(request, attempt.deployment))
            )
            opening: list[Chunk] = []
            async for chunk in chunks:
                opening.append(chunk)
                if chunk.has_content:
                    if plan.has_lenient and is_withheld(chunk.choices):
                        raise withheld()
                    attempt.first_content = self._clock()
                    return OpenStream(_chain(opening, chunks), connection.pop_all())
        raise UpstreamError("invalid_response", "the stream ended without an answer")

    async def _open_rest(self, request: ChatRequest, plan: Plan, attempt: OpenAttempt) -> OpenStream:
        """Open a stream that goes on with another. Where there is nothing to add, its end is all that it gives."""
        try:
            return await self._open(request, plan, attempt)
        except UpstreamError as error:
            if error.code != NOTHING_SAID:
                raise
            end = Chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=error.usage)
            attempt.follow(end)
            return OpenStream(_chain([end]), AsyncExitStack())

    async def _prepare(self, deployment: Deployment) -> None:
        await self._upstreams[deployment.provider].warm_up()

    async def _served(
        self, run: Run, hold: Hold, chain: Chain, ask: Callable[[OpenAttempt], Awaitable[T]]
    ) -> Served[T]:
        """Have somebody of the chain answer whole."""
        asking = Asking(request=run.request, prepare=self._prepare, ask=ask, patience=lambda d: d.timeout_s)
        served = await self._walk(run, hold, self._walk_of(run, self._plan(run, chain), asking))
        run.answers(served.attempt, self._clock())
        return served

    def _opened(self, run: Run, plan: Plan, request: ChatRequest) -> Walk[OpenStream]:
        """Have somebody of the chain open a stream."""
        asking = Asking(
            request=request,
            prepare=self._prepare,
            ask=partial(self._open if request is run.request else self._open_rest, request, plan),
            patience=lambda d: d.first_token_timeout_s,
            hedge_after_s=self._hedge_after_s,
            discard=OpenStream.close,
        )
        return self._walk_of(run, plan, asking)

    def _walk_of(self, run: Run, plan: Plan, asking: Asking[T]) -> Walk[T]:
        return Walk(plan, run, self._fleet, asking, clock=self._clock, deadline=self._deadline(run))

    def _relay(self, run: Run, plan: Plan, served: Served[OpenStream], request: ChatRequest) -> Relay:
        def open_next(continuing: ChatRequest) -> Awaitable[Served[OpenStream]]:
            return self._opened(run, plan, continuing).first_answer()

        is_continued = self._config.routing.continues_streams
        deadline = self._deadline(run)
        return Relay(
            request, run, plan, served, open_next, is_continued=is_continued, clock=self._clock, deadline=deadline
        )

    def _hedge_after_s(self, deployment: Deployment) -> float | None:
        percentile = self._config.routing.hedge_percentile
        if percentile is None:
            return None
        return self._fleet.of(deployment).first_token_percentile_s(percentile, self._clock())

    async def _walk(self, run: Run, hold: Hold, walk: Walk[T]) -> Served[T]:
        try:
            return await walk.first_answer()
        except AllModelsFailed:
            await self._report_failure(run, hold)
            raise
        except BadRequest:
            if run.is_billed:
                await self._report_failure(run, hold)
            raise

    async def _events(self, request: ChatRequest, run: Run, relay: Relay, hold: Hold) -> AsyncGenerator[bytes]:
        renderer = ChunkRenderer(
            model=shown_model(request, relay.served.deployment),
            fallback_id=run.fallback_id,
            created=self._unix_time(),
            wants_usage=request.wants_usage,
            is_legacy=request.offers_functions,
        )
        try:
            async for chunk in relay.chunks():
                renderer.name(shown_model(request, relay.served.deployment))
                if event := renderer.render(chunk):
                    yield event
            await self._record(run, hold, "completed")
        except StreamBroken as error:
            yield await self._broken(run, hold, error)
            return
        except StoreUnavailable as error:
            yield render_stream_error(error)
            return
        if request.wants_usage:
            yield renderer.render_usage(run.usage, run.usage_details)
        yield DONE

    async def _broken(self, run: Run, hold: Hold, error: StreamBroken) -> bytes:
        """Record what a broken stream has consumed, and say that it broke."""
        try:
            await self._record(run, hold, "truncated")
        except StoreUnavailable as unavailable:
            return render_stream_error(unavailable)
        return render_stream_error(error)

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
        alias, call_id = run.request.alias, run.caller.request_id
        return answer_headers(call_id, alias, deployment, run.attempts, cost=cost, dropped_params=dropped)

    def _deadline(self, run: Run) -> float:
        wish_s = run.request.wishes.request_timeout_s
        return run.started + min(wish_s or math.inf, self._config.request_timeout_s)

    def _unix_time(self) -> int:
        return int(self._now().timestamp())


def shown_model(request: Request, deployment: Deployment) -> str:
    """Name the model in the answer: what was asked for, or after a fallback what answered, as LiteLLM does."""
    return request.alias if deployment.group == request.alias else deployment.upstream_model


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
