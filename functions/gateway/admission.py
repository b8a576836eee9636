"""May this request spend? Asked before a provider is."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from events.budget import Budget
from events.money import NOTHING, NanoUsd
from events.spend import Scopes
from events.window import Window
from functions.gateway.errors import BudgetExceeded, StoreUnavailable
from functions.gateway.ports import Counters, Deployment, Hold, Request

NOBODY = Scopes()

_FRESH_S = 1.0  # how old the counter's last reading, or its last failure, may be
_READ_WITHIN_S = 5.0


class WindowAdmission:
    """`Admission` by the folded spend of the current window, read at most once a second per instance.

    What this instance has spent counts at once, and no later reading lowers the estimate: while folding lags, the
    instance stops at the limit all the same. Requests in flight, and what other instances have spent but is not folded
    yet, are not seen, so that much may pass the limit.
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
        self._spent = NOTHING
        self._read_at = self._failed_at = float("-inf")
        self._reading = asyncio.Lock()

    @asynccontextmanager
    async def hold(
        self, request: Request, chain: Sequence[Deployment], scopes: Scopes = NOBODY
    ) -> AsyncGenerator[Hold]:
        """Let the request through, or raise `BudgetExceeded`, or `StoreUnavailable` where that can't be known."""
        if self._budget is None:
            yield WindowHold(self, None)
            return
        window = self._budget.window(self._now())
        counter = self._budget.counter(window)
        await self._refresh(counter)
        if self._spent >= self._budget.max_budget:
            raise self._exceeded(self._budget, window)
        yield WindowHold(self, counter)

    def count(self, counter: str | None, cost: NanoUsd) -> None:
        """Add what a request of this instance cost, unless its window is over."""
        if counter == self._counter:
            self._spent = NanoUsd(self._spent + cost)

    async def _refresh(self, counter: str) -> None:
        """Read the counter if the last reading is old. Who waits while it is read shares its outcome."""
        async with self._reading:
            now = self._clock()
            if counter == self._counter and now - self._read_at <= _FRESH_S:
                return
            if now - self._failed_at <= _FRESH_S:
                raise StoreUnavailable("The budget's store did not answer a moment ago. Try again shortly.")
            spent = await self._read(counter)
            estimate = self._spent if counter == self._counter else NOTHING
            self._spent, self._counter = max(spent, estimate), counter
            self._read_at = self._clock()

    async def _read(self, counter: str) -> NanoUsd:
        try:
            async with asyncio.timeout(_READ_WITHIN_S):
                return (await self._counters.read(counter)).spent
        except (StoreUnavailable, TimeoutError) as error:
            self._failed_at = self._clock()
            raise StoreUnavailable(f"The budget's store does not answer ({error}). Try again shortly.") from error

    def _exceeded(self, budget: Budget, window: Window) -> BudgetExceeded:
        return BudgetExceeded(
            budget.budget_id,
            spent=self._spent,
            max_budget=budget.max_budget,
            ends_at=window.ends_at,
            retry_after_s=int((window.ends_at - self._now()).total_seconds()),
            status=self._exceeded_status,
        )


class WindowHold:
    """`Hold` that sets nothing aside."""

    allowance_ids: tuple[str, ...] = ()
    max_tokens: int | None = None

    def __init__(self, admission: WindowAdmission, counter: str | None) -> None:
        self._admission = admission
        self._counter = counter

    def settle(self, cost: NanoUsd) -> None:
        """Count it."""
        self._admission.count(self._counter, cost)
