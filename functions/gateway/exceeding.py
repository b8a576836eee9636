"""Exceeding: who refuses because a budget is spent may be the only one to know, and has it told of."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import cast

from events.alerts import Holder, HolderKind
from events.budget import Budget, BudgetWindow, due_refusal
from functions.gateway.errors import BudgetExceeded
from functions.gateway.holders import holder_of
from functions.gateway.ports import BUDGET_ALERTS, Bus, Counters, Parties

_WITHIN_S = 5.0
_MOST_REMEMBERED = 50_000
_log = logging.getLogger(__name__)


class ExceededAlerts:
    """Publishes that a window's budget refuses, once, beside the requests; its id is that of its threshold of 100 %."""

    def __init__(self, counters: Counters, bus: Bus, tasks: asyncio.TaskGroup, *, now: Callable[[], datetime]) -> None:
        self._counters = counters
        self._bus = bus
        self._tasks = tasks
        self._now = now
        self._told: set[str] = set()  # counters, also of those that are being told of

    def notice(self, error: BudgetExceeded, parties: Parties) -> None:
        """Have it told of, where it was not. What fails is tried again at the next refusal."""
        counter = error.budget.counter(error.window)
        if counter in self._told or not due_refusal(error.budget, error.window, BudgetWindow(error.spent), self._now()):
            return
        if len(self._told) >= _MOST_REMEMBERED:
            self._told.clear()  # they are marked too
        self._told.add(counter)
        self._tasks.create_task(self._tell(counter, error, parties))

    async def _tell(self, counter: str, error: BudgetExceeded, parties: Parties) -> None:
        try:
            async with asyncio.timeout(_WITHIN_S):
                await self._publish(counter, error, parties)
        except Exception as failure:  # noqa: BLE001 (a worker: it must not end the others)
            self._told.discard(counter)
            _log.warning("that the budget of %s refuses could not be published: %s", counter, failure or "no answer")

    async def _publish(self, counter: str, error: BudgetExceeded, parties: Parties) -> None:
        state = await self._counters.read(counter)
        alert = due_refusal(error.budget, error.window, state, self._now())
        if alert is not None:
            await self._bus.publish(BUDGET_ALERTS, replace(alert, holder=_holder(error.budget, parties)))
            await self._counters.mark_announced(counter, [alert.mark])


def _holder(budget: Budget, parties: Parties) -> Holder | None:
    kind = budget.budget_id.partition(":")[0]
    return None if kind == "global" else holder_of(cast("HolderKind", kind), budget, parties)
