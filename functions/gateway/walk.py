"""The walk along a chain: ask, time, learn, ask the next. What is decided on the way, `routing.py` decides."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from events.spend import Usage
from functions.gateway.errors import BadRequest, UpstreamError
from functions.gateway.health import Asked, Fleet
from functions.gateway.ports import Deployment, Request
from functions.gateway.routing import Plan, Step
from functions.gateway.run import OpenAttempt, Run
from functions.gateway.timeouts import is_hasty, patient_with
from functions.gateway.verdicts import judge

OUTRUN = "outrun"  # the status of an attempt that was stopped because another one answered sooner
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Served(Generic[T]):
    """What a chain gave: the answer, the attempt that gave it, and what its deployment's health is told of it."""

    answer: T
    attempt: OpenAttempt
    asked: Asked

    @property
    def deployment(self) -> Deployment:
        """Who answers."""
        return self.attempt.deployment


def _never(_: Deployment) -> None:
    return None


async def _as_it_is(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking(Generic[T]):
    """How a deployment is asked for one kind of answer.

    `prepare` sets up what is set up once, such as an SDK, which counts as nobody's time; `ask` asks for the `request`
    and gives the answer, or its beginning, or raises `UpstreamError`; `patience` bounds that, in seconds;
    `hedge_after_s` says after which time another is asked beside it, if at all; `discard` ends an answer that came
    second.
    """

    request: Request
    prepare: Callable[[Deployment], Awaitable[None]]
    ask: Callable[[OpenAttempt], Awaitable[T]]
    patience: Callable[[Deployment], float]
    hedge_after_s: Callable[[Deployment], float | None] = _never
    discard: Callable[[T], Awaitable[None]] = _as_it_is


class Walk(Generic[T]):
    """Walks one request along its plan. At `deadline`, by the clock, what runs ends and nothing else begins."""

    def __init__(
        self,
        plan: Plan,
        run: Run,
        fleet: Fleet,
        asking: Asking[T],
        *,
        clock: Callable[[], float],
        deadline: float,
    ) -> None:
        self._plan = plan
        self._run = run
        self._fleet = fleet
        self._asking = asking
        self._clock = clock
        self._deadline = deadline
        self._has_winner = False

    async def first_answer(self) -> Served[T]:
        """Give the first answer. Raises `AllModelsFailed`, or `BadRequest` where the request is at fault.

        Every attempt is written down in the run as it ends, so that they are known however the walk ends.
        """
        while self._clock() < self._deadline and (step := self._plan.next(self._clock())) is not None:
            if step.wait_s:
                await asyncio.sleep(step.wait_s)
            hedge_after_s = self._asking.hedge_after_s(step.deployment)
            served = await (self._try(step) if hedge_after_s is None else self._race(step, hedge_after_s))
            if served is not None:
                return served
        raise self._plan.failure(self._run.attempts)

    async def _try(self, step: Step) -> Served[T] | None:
        """Make one attempt; nothing where it failed, which the plan then knows."""
        deployment = patient_with(step.deployment, self._asking.request)
        await self._asking.prepare(deployment)
        started = self._clock()
        attempt = OpenAttempt(deployment, self._asking.request, started=started)
        asked = self._fleet.of(deployment).begin(started)
        patience_s, left_s = self._asking.patience(deployment), self._deadline - started
        try:
            async with asyncio.timeout(min(patience_s, left_s)):
                answer = await self._asking.ask(attempt)
        except UpstreamError as error:
            self._fail(attempt, asked, error)
        except TimeoutError:
            if patience_s > left_s:  # the request's time is over, which says nothing of the deployment
                asked.abandoned(self._clock())
            self._fail(attempt, asked, UpstreamError("timeout", "no answer in time"))
        except asyncio.CancelledError:
            self._stopped(attempt, asked)
            raise
        except BadRequest:  # what this wire can't be asked, the one that was asked for may have been
            asked.abandoned(self._clock())
            if not self._run.attempts:
                raise
        except BaseException:
            asked.abandoned(self._clock())
            raise
        else:
            return self._served(answer, attempt, asked)
        return None

    def _served(self, answer: T, attempt: OpenAttempt, asked: Asked) -> Served[T]:
        now = self._clock()
        usage = attempt.reported or Usage()
        asked.succeeded(
            now,
            is_stream=self._run.request.is_stream,
            seconds=now - attempt.started,
            output_tokens=usage.output_tokens,
            input_tokens=usage.input_tokens,
        )
        return Served(answer, attempt, asked)

    def _stopped(self, attempt: OpenAttempt, asked: Asked) -> None:
        now = self._clock()
        if self._has_winner:
            asked.outrun(now)
        asked.abandoned(now)
        self._run.fails(attempt, OUTRUN if self._has_winner else "client_disconnected", now)

    def _fail(self, attempt: OpenAttempt, asked: Asked, error: UpstreamError) -> None:
        now, verdict = self._clock(), judge(error)
        if is_hasty(self._asking.request, error):
            asked.abandoned(now)
        self._run.fails(attempt, error.status, now, usage=error.usage)
        asked.failed(now, verdict, status=error.status, retry_after_s=error.retry_after_s)
        self._plan.learn(attempt.deployment, error, verdict, now=now, deadline=self._deadline)

    async def _race(self, step: Step, hedge_after_s: float) -> Served[T] | None:
        """Make one attempt, and a second one beside it where the first takes long. Who comes second is stopped."""
        racing = [asyncio.create_task(self._try(step))]
        winner = None
        try:
            await asyncio.wait(racing, timeout=hedge_after_s)
            if not racing[0].done() and (beside := self._plan.hedge(self._clock())) is not None:
                racing.append(asyncio.create_task(self._try(beside)))
            winner = await _first_served(racing)
            return None if winner is None else winner.result()
        finally:
            self._has_winner = winner is not None
            with anyio.CancelScope(shield=True):
                await self._stop([task for task in racing if task is not winner])

    async def _stop(self, tasks: list[asyncio.Task[Served[T] | None]]) -> None:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Served):
                self._stopped(outcome.attempt, outcome.asked)
                await self._asking.discard(outcome.answer)


async def _first_served(racing: list[asyncio.Task[Served[T] | None]]) -> asyncio.Task[Served[T] | None] | None:
    pending = set(racing)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in racing:
            if task in done and task.result() is not None:
                return task
    return None
