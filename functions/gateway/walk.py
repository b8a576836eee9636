"""The walk along a chain: ask, time, learn, ask the next. What is decided on the way, `routing.py` decides."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from events.spend import Usage
from functions.gateway.asking import Asking
from functions.gateway.errors import STALE_CONNECTION, BadRequest, UpstreamError
from functions.gateway.health import Asked
from functions.gateway.ports import Deployment, Request
from functions.gateway.routing import Plan, Step
from functions.gateway.run import OpenAttempt, Run
from functions.gateway.timeouts import patient_with
from functions.gateway.verdicts import judge

OUTRUN = "outrun"  # the status of an attempt that was stopped because another one answered sooner
T = TypeVar("T")

_STOPPED_WITHIN_S = 5


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


class Walk(Generic[T]):
    """Walks one request along its plan. At the plan's deadline what runs ends, and nothing else begins."""

    def __init__(
        self,
        plan: Plan,
        run: Run,
        asking: Asking[T],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._run = run
        self._asking = asking
        self._clock = clock
        self._deadline = plan.deadline
        self._has_winner = False

    async def first_answer(self) -> Served[T]:
        """Give the first answer. Raises `AllModelsFailed`, or `BadRequest` where the request is at fault.

        Every attempt is written down in the run as it ends, so that they are known however the walk ends.
        """
        while self._clock() < self._deadline:
            if (wait_s := self._plan.wait_s(self._clock())) > 0:
                await asyncio.sleep(wait_s)
            if (step := self._plan.next(self._clock())) is None:
                break
            hedge_after_s = self._asking.hedge_after_s(step.deployment)
            served = await (self._try(step) if hedge_after_s is None else self._race(step, hedge_after_s))
            if served is not None:
                return served
        raise self._plan.failure(self._run.attempts)

    async def _try(self, step: Step) -> Served[T] | None:
        """Make one attempt; nothing where it failed, which the plan then knows."""
        try:
            await self._asking.prepare(step.deployment)
            return await self._attempt(step)
        except BaseException:
            step.asked.abandoned(self._clock())  # unless something else was said of it
            raise

    async def _attempt(self, step: Step) -> Served[T] | None:
        deployment, started = patient_with(step.deployment, self._asking.request), self._clock()
        attempt = OpenAttempt(deployment, self._asking.request, started=started)
        patience_s = min(self._asking.patience(deployment), self._deadline - started)
        try:
            async with asyncio.timeout(patience_s):
                answer = await self._asking.ask(attempt)
        except UpstreamError as error:
            self._fail(attempt, step, error)
        except TimeoutError:
            self._fail(attempt, step, UpstreamError("timeout", "no answer in time"))
        except asyncio.CancelledError:
            self._stopped(attempt, step.asked)
            raise
        except BadRequest:  # what this wire can't be asked, the one that was asked for may have been
            if not self._run.attempts:
                raise
            step.asked.abandoned(self._clock())
        else:
            return self._served(answer, attempt, step.asked)
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

    def _fail(self, attempt: OpenAttempt, step: Step, error: UpstreamError) -> None:
        now = self._clock()
        self._run.fails(attempt, error.status, now, usage=error.usage)
        blame(step.asked, error, self._asking.request, now=now, deadline=self._deadline)
        self._plan.learn(step.deployment, error, now)

    def _stopped(self, attempt: OpenAttempt, asked: Asked) -> None:
        now = self._clock()
        if self._has_winner:
            asked.outrun(now)
        asked.abandoned(now)
        self._run.fails(attempt, OUTRUN if self._has_winner else "client_disconnected", now)

    async def _race(self, step: Step, hedge_after_s: float) -> Served[T] | None:
        """Make one attempt, and a second one beside it where the first takes long. Who comes second is stopped."""
        steps = [step]
        racing = [asyncio.create_task(self._try(step))]
        winner = None
        try:
            await asyncio.wait(racing, timeout=hedge_after_s)
            if not racing[0].done() and (beside := self._plan.hedge(self._clock())) is not None:
                steps.append(beside)
                racing.append(asyncio.create_task(self._try(beside)))
            winner = await _first_served(racing)
            return None if winner is None else winner.result()
        finally:
            self._has_winner = winner is not None
            with anyio.move_on_after(_STOPPED_WITHIN_S, shield=True):
                await self._stop([task for task in racing if task is not winner])
            for other, task in zip(steps, racing, strict=True):
                if task is not winner:
                    other.asked.abandoned(self._clock())  # also where it had not begun

    async def _stop(self, tasks: list[asyncio.Task[Served[T] | None]]) -> None:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Served):
                self._stopped(outcome.attempt, outcome.asked)
                await self._asking.discard(outcome.answer)


def blame(asked: Asked, error: UpstreamError, request: Request, *, now: float, deadline: float) -> None:
    """Have a deployment's health know of an error, if it says something of the deployment.

    Not so where the request had no more time for it: anyone may send an impatient one. Nor where a kept connection
    was stale.
    """
    has_own_patience = (request.wishes.timeout_s or request.wishes.stream_timeout_s) is not None
    is_hasty = error.status == "timeout" and (has_own_patience or now >= deadline)
    if is_hasty or error.code == STALE_CONNECTION:
        asked.abandoned(now)
    asked.failed(now, judge(error), status=error.status, retry_after_s=error.retry_after_s)


async def _first_served(racing: list[asyncio.Task[Served[T] | None]]) -> asyncio.Task[Served[T] | None] | None:
    """Wait for the first that served. Raises `BadRequest` where none did and one found the request at fault."""
    pending, refusal = set(racing), None
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in racing if task in done]:
            if isinstance(error := task.exception(), BadRequest):
                refusal = refusal or error
            elif task.result() is not None:
                return task
    if refusal is not None:
        raise refusal
    return None
