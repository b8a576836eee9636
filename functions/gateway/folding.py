"""Folding: events that arrive together become one atomic commit of ledger and counters, and alerts where due."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from events.budget import Budget, BudgetWindow, ThresholdCrossed, due_alerts, increments, is_counted
from events.codec import Event
from events.money import NanoUsd
from events.tick import Ticked
from events.window import Window
from functions.gateway.errors import StoreUnavailable, Unstorable
from functions.gateway.ports import BUDGET_ALERTS, AlreadyRecorded, Bus, Counters, Gate, Ledger
from functions.gateway.reconciling import reconcile_late, reconcile_unsettled, sweep_expired

Waiting = tuple[Event, asyncio.Future[None]]

_MOST_AT_ONCE = 200  # keeps a commit far under Firestore's 10 MiB a request


class Folder:
    """Folds events exactly once, grouped. Made by `open_folder`, which runs its one worker.

    `interval_s` is the least time between two commits: what arrives meanwhile goes into the next one, so that hot
    counters are written a few times a second however much traffic there is.
    """

    def __init__(
        self,
        *,
        budgets: Sequence[Budget],
        ledger: Ledger,
        counters: Counters,
        gate: Gate,
        bus: Bus,
        now: Callable[[], datetime],
        interval_s: float,
    ) -> None:
        self._budgets = budgets
        self._ledger = ledger
        self._counters = counters
        self._gate = gate
        self._bus = bus
        self._now = now
        self._interval_s = interval_s
        self._waiting: asyncio.Queue[Waiting] = asyncio.Queue()
        self._announced: set[str] = set()

    async def fold(self, event: Event) -> None:
        """Return once the event is in the ledger and counted, and the alerts due by it are on the bus.

        Folding it again is harmless. Raises `Unstorable`, or `StoreUnavailable`: then it must be folded again.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((event, done))
        await done

    async def run(self) -> None:
        """Commit what waits, group by group, until cancelled."""
        while True:
            group = [await self._waiting.get()]
            while len(group) < _MOST_AT_ONCE and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            await self._settle(group)
            await asyncio.sleep(self._interval_s)

    async def _settle(self, group: Sequence[Waiting]) -> None:
        """Fold a group; where one of its events may be at fault, one by one, so that only the culprit fails."""
        try:
            await self._fold_group([event for event, _ in group])
        except Exception as error:  # noqa: BLE001 (a worker loop: the waiter raises it)
            if len(group) == 1 or (isinstance(error, StoreUnavailable) and not isinstance(error, Unstorable)):
                _resolve(group, error)
                return
            for waiting in group:
                await self._settle([waiting])
        else:
            _resolve(group, None)

    async def _fold_group(self, group: Sequence[Event]) -> None:
        totals = await self._commit({event.event_id: event for event in group if not isinstance(event, Ticked)})
        now = self._now()
        await reconcile_late(group, self._gate, self._counters, now)
        if any(isinstance(event, Ticked) for event in group):
            await reconcile_unsettled(self._gate, self._counters, now)
            await sweep_expired(self._gate, now)
        for budget in self._budgets:
            for window in _windows(budget, group, now):
                await self._announce(budget, window, totals.get(budget.counter(window)), now)

    async def _commit(self, events: dict[str, Event]) -> dict[str, int]:
        """Commit those of the events that are new, and give the totals of the counters they touched."""
        while events:
            fresh = list(events.values())
            try:
                return await self._ledger.commit(fresh, increments(self._budgets, fresh))
            except AlreadyRecorded as known:
                if not known.event_ids & events.keys():
                    raise
                events = {name: event for name, event in events.items() if name not in known.event_ids}
        return {}

    async def _announce(self, budget: Budget, window: Window, total: int | None, now: datetime) -> None:
        """Publish the alerts that are due and unmarked, then mark them. Level-triggered: a crash between repeats it.

        `total` is the counter's, where this commit grew it: mostly it shows, without a read, that nothing is new.
        """
        if total is not None and self._all_announced(due_alerts(budget, window, BudgetWindow(NanoUsd(total)), now)):
            return
        counter = budget.counter(window)
        state = await self._counters.read(counter)
        due = due_alerts(budget, window, state, now)
        for alert in due:
            await self._bus.publish(BUDGET_ALERTS, alert)
        if due:
            await self._counters.mark_crossed(counter, [alert.percent for alert in due])
        reached = due_alerts(budget, window, BudgetWindow(state.spent), now)
        self._announced.update(alert.event_id for alert in reached)

    def _all_announced(self, alerts: Sequence[ThresholdCrossed]) -> bool:
        return all(alert.event_id in self._announced for alert in alerts)


def _windows(budget: Budget, group: Sequence[Event], now: datetime) -> set[Window]:
    """Give the windows that a group is about: those that it counts in, and at a tick the present one."""
    counted = {budget.window_of(event) for event in group if is_counted(event)}
    return counted | {budget.window(now) for event in group if isinstance(event, Ticked)}


def _resolve(group: Sequence[Waiting], error: Exception | None) -> None:
    for _, done in group:
        if not done.done():
            done.set_exception(error) if error else done.set_result(None)


@asynccontextmanager
async def open_folder(folder: Folder) -> AsyncGenerator[Folder]:
    """Run the folder's worker for as long as the context is open."""
    async with asyncio.TaskGroup() as tasks:
        worker = tasks.create_task(folder.run())
        yield folder
        worker.cancel()
