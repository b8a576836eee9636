"""May this request spend? Asked before a provider is."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from events.budget import Budget
from events.money import NOTHING, NanoUsd
from functions.gateway.errors import BudgetExceeded
from functions.gateway.ports import Counters, Deployment, Hold, Request

_FRESH_S = 1.0  # how old the counter's last reading may be


class WindowAdmission:
    """`Admission` by the folded spend of the current window, read at most once a second per instance.

    To the last reading it adds what this instance has spent since. Requests in flight on other instances are
    not seen, so a burst may pass the limit by what was in flight; a request that starts over it never does.
    """

    def __init__(
        self,
        budget: Budget | None,
        counters: Counters,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        exceeded_status: int,
    ) -> None:
        self._budget = budget
        self._counters = counters
        self._now = now
        self._clock = clock
        self._exceeded_status = exceeded_status
        self._counter: str | None = None
        self._read_at = float("-inf")
        self._spent = NOTHING
        self._reading = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, request: Request, chain: Sequence[Deployment]) -> AsyncGenerator[Hold]:
        """Let the request through, or raise `BudgetExceeded`, or `StoreUnavailable` where that can't be known."""
        if self._budget is not None:
            await self._refuse_when_spent(self._budget)
        yield self

    def settle(self, cost: NanoUsd) -> None:
        """Count what a request of this instance cost until the next reading knows it."""
        self._spent = NanoUsd(self._spent + cost)

    async def _refuse_when_spent(self, budget: Budget) -> None:
        now = self._now()
        window = budget.window(now)
        spent = await self._spent_in(budget.counter(window))
        if spent >= budget.max_budget:
            raise BudgetExceeded(
                budget.budget_id,
                spent=spent,
                max_budget=budget.max_budget,
                ends_at=window.ends_at,
                retry_after_s=int((window.ends_at - now).total_seconds()),
                status=self._exceeded_status,
            )

    async def _spent_in(self, counter: str) -> NanoUsd:
        async with self._reading:
            if counter != self._counter or self._clock() - self._read_at > _FRESH_S:
                self._spent = (await self._counters.read(counter)).spent
                self._counter, self._read_at = counter, self._clock()
            return self._spent
