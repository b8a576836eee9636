"""The story of an answer: resolve, admit, walk the chain, record what it cost, let the last byte go."""

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import anyio

from events.codec import encode
from events.money import NanoUsd
from events.spend import Outcome
from functions.gateway.asking import Asking, Askings, OpenStream
from functions.gateway.chains import Chain, resolve
from functions.gateway.config import Config
from functions.gateway.errors import (
    AllModelsFailed,
    BadRequest,
    StoreUnavailable,
    StreamBroken,
)
from functions.gateway.headers import answer_headers, key_headers
from functions.gateway.health import Fleet
from functions.gateway.limits import RememberedLimits, with_limits_of_their_own
from functions.gateway.ports import (
    SPEND_EVENTS,
    Admission,
    Bus,
    ChatRequest,
    Deployment,
    Embedder,
    EmbeddingRequest,
    Hold,
    Limits,
    Request,
    Upstream,
)
from functions.gateway.relay import Relay
from functions.gateway.routing import Plan
from functions.gateway.run import Caller, Run
from functions.gateway.walk import Served, Walk
from functions.gateway.wire import DONE, ChunkRenderer, render_answer, render_embeddings, render_stream_error
from functions.gateway.worst_case import with_at_most

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
        self._limits_of = RememberedLimits(config.defaults, config.means)
        self._upstreams = upstreams
        self._embedders = embedders
        self._fleet = fleet
        self._admission = admission
        self._bus = bus
        self._now = now
        self._clock = clock
        self._random = random
        self._notice_request = notice_request
        self._askings = Askings(
            upstreams, embedders, fleet, hedge_percentile=config.routing.hedge_percentile, clock=clock
        )

    async def answer(self, request: ChatRequest, caller: Caller) -> RenderedAnswer:
        """Answer whole. The spend event is acknowledged when this returns. Raises `GatewayError`."""
        run, chain, plan = self._begin(request, caller)
        async with self._admission.hold(request, list(chain.deployments()), self._limits(request, caller)) as hold:
            request = _admitted(request, run, hold)
            asking = self._askings.answer(request, has_lenient=plan.has_lenient)
            served = await self._served(run, plan, hold, asking)
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
        headers = self._headers(run, plan, hold, served.deployment, dropped, run.cost)
        return RenderedAnswer(headers=headers, body=body)

    async def embed(self, request: EmbeddingRequest, caller: Caller) -> RenderedAnswer:
        """Give embeddings. The spend event is acknowledged when this returns. Raises `GatewayError`."""
        run, chain, plan = self._begin(request, caller)
        async with self._admission.hold(request, list(chain.deployments()), self._limits(request, caller)) as hold:
            run.allowance_ids = hold.allowance_ids
            served = await self._served(run, plan, hold, self._askings.embeddings(request))
            await self._record(run, hold, "completed")
        model = shown_model(request, served.deployment)
        encoding_format: str | None = request.body.get("encoding_format")
        body = render_embeddings(served.answer, run.usage, model=model, encoding_format=encoding_format)
        dropped = self._embedders[served.deployment.provider].dropped_params(request, served.deployment)
        headers = self._headers(run, plan, hold, served.deployment, dropped, run.cost)
        return RenderedAnswer(headers=headers, body=body)

    @asynccontextmanager
    async def stream(self, request: ChatRequest, caller: Caller) -> AsyncGenerator[RenderedStream]:
        """Answer in server-sent events, once the first content has arrived. Raises `GatewayError` before that.

        `[DONE]` leaves after the spend event is acknowledged; a stream that can't be finished ends with an error
        event instead. Leaving early stops the upstream and records what was consumed.
        """
        run, chain, plan = self._begin(request, caller)
        async with self._admission.hold(request, list(chain.deployments()), self._limits(request, caller)) as hold:
            request = _admitted(request, run, hold)
            asking = self._askings.stream(request, has_lenient=plan.has_lenient)
            try:
                served = await self._served(run, plan, hold, asking)
            except anyio.get_cancelled_exc_class():
                await self._record_abandoned(run, hold)
                raise
            relay = self._relay(request, run, plan, served)
            try:
                dropped = self._upstreams[served.deployment.provider].dropped_params(request, served.deployment)
                headers = self._headers(run, plan, hold, served.deployment, dropped)
                yield RenderedStream(headers=headers, events=self._events(request, run, relay, hold))
            finally:
                await relay.close()
                if not run.is_concluded:
                    with suppress(StoreUnavailable):  # logged; there is nobody left to tell
                        await self._record(run, hold, "client_disconnected")

    def _begin(self, request: Request, caller: Caller) -> tuple[Run, Chain, Plan]:
        self._notice_request()
        policy = self._config.routing
        deployments = self._config.deployments
        limited = with_limits_of_their_own(caller.parties.key, deployments, self._config.means)
        chain = resolve(request, deployments, policy, caller.models, left_out=limited)
        run = Run(request, caller, started=self._clock())
        wish_s = request.wishes.request_timeout_s or math.inf
        deadline = run.started + min(wish_s, self._config.request_timeout_s)
        plan = Plan(request, chain, self._fleet, policy, now=run.started, deadline=deadline, random=self._random)
        return run, chain, plan

    def _limits(self, request: Request, caller: Caller) -> Limits:
        return self._limits_of.of(caller.parties, request.alias)

    async def _served(self, run: Run, plan: Plan, hold: Hold, asking: Asking[T]) -> Served[T]:
        """Have somebody of the chain answer; what it cost that nobody did is reported."""
        try:
            served = await Walk(plan, run, asking, clock=self._clock).first_answer()
        except AllModelsFailed:
            await self._report_failure(run, hold)
            raise
        except BadRequest:
            if run.is_billed:
                await self._report_failure(run, hold)
            raise
        run.answers(served.attempt, self._clock())
        return served

    def _relay(self, request: ChatRequest, run: Run, plan: Plan, served: Served[OpenStream]) -> Relay:
        def open_next(continuing: ChatRequest) -> Awaitable[Served[OpenStream]]:
            return Walk(plan, run, self._askings.rest(continuing), clock=self._clock).first_answer()

        is_continued = self._config.routing.continues_streams
        return Relay(request, run, plan, served, open_next, is_continued=is_continued, clock=self._clock)

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
        hold.settle(event.cost, run.tokens)  # recorded or not, it is spent
        try:
            with anyio.fail_after(_RECORD_WITHIN_S, shield=True):
                await self._bus.publish(SPEND_EVENTS, event)
        except (StoreUnavailable, TimeoutError) as error:
            _log.critical("spend could not be recorded (%s): %s", error, encode(event).decode())
            raise StoreUnavailable("The answer could not be recorded, so it is withheld. Try again shortly.") from error

    async def _record_abandoned(self, run: Run, hold: Hold) -> None:
        """Record a request whose client left before the first content, by what its provider said that it bills."""
        if not run.is_billed:
            await self._report_failure(run, hold)
            return
        with suppress(StoreUnavailable):  # logged; there is nobody left to tell
            await self._record(run, hold, "client_disconnected")

    async def _report_failure(self, run: Run, hold: Hold) -> None:
        event = run.failed(version=self._config.catalog_version, time=self._now(), clock=self._clock())
        if event.cost:
            hold.settle(event.cost, run.tokens)
        try:
            with anyio.fail_after(_RECORD_WITHIN_S, shield=True):
                await self._bus.publish(SPEND_EVENTS, event)
        except (StoreUnavailable, TimeoutError):
            _log.error("a failure could not be recorded: %s", encode(event).decode())

    @staticmethod
    def _headers(
        run: Run,
        plan: Plan,
        hold: Hold,
        deployment: Deployment,
        dropped: tuple[str, ...],
        cost: NanoUsd | None = None,
    ) -> Mapping[str, str]:
        call_id, fallbacks = run.caller.request_id, plan.fallbacks(deployment)
        of_key = key_headers(run.caller.parties.key, run.caller.key_spent, cost)
        return of_key | answer_headers(
            call_id,
            deployment,
            run.attempts,
            fallbacks=fallbacks,
            cost=cost,
            dropped_params=dropped,
            max_tokens=run.max_tokens,
            rates=hold.headers,
        )

    def _unix_time(self) -> int:
        return int(self._now().timestamp())


def _admitted(request: ChatRequest, run: Run, hold: Hold) -> ChatRequest:
    """Give the request as its hold lets it be asked."""
    run.allowance_ids, run.max_tokens = hold.allowance_ids, hold.max_tokens
    return request if hold.max_tokens is None else with_at_most(request, hold.max_tokens)


def shown_model(request: Request, deployment: Deployment) -> str:
    """Name the model in the answer: what was asked for, or after a fallback what answered, as LiteLLM does."""
    return request.alias if deployment.group == request.alias else deployment.upstream_model
