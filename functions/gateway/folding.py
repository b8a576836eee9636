"""Folding: events that arrive together become one atomic commit of ledger and counters, and alerts where due."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter

from events.budget import Budget, increments
from events.codec import Event
from events.tick import Ticked
from functions.gateway.announcing import Announcer
from functions.gateway.errors import StoreUnavailable, Unstorable
from functions.gateway.portions import halves, portions
from functions.gateway.ports import AlreadyRecorded, Counters, Gate, Ledger
from functions.gateway.reconciling import late_allowances, reconcile_late, reconcile_unsettled, sweep_expired

Waiting = tuple[Event, asyncio.Future[None]]

MOST_AT_ONCE = 200
_LATE_WITHIN_S = 10.0  # the events behind wait for it
_HOUSEKEEPING_S = 45.0  # within the time that a delivery has
_log = logging.getLogger(__name__)


class Folder:
    """Folds events exactly once, grouped. Made by `open_folder`, which runs its one worker.

    `interval_s` is the least time between two groups: what arrives meanwhile goes into the next one, so that hot
    counters are written a few times a second however much traffic there is. A group is one commit, unless it comes to
    more than one may write.
    """

    def __init__(
        self,
        *,
        budgets: Sequence[Budget],
        ledger: Ledger,
        counters: Counters,
        gate: Gate,
        announcer: Announcer,
        now: Callable[[], datetime],
        interval_s: float,
    ) -> None:
        self._budgets = budgets
        self._ledger = ledger
        self._counters = counters
        self._gate = gate
        self._announcer = announcer
        self._now = now
        self._interval_s = interval_s
        self._waiting: asyncio.Queue[Waiting] = asyncio.Queue()
        self._is_keeping_house = False

    async def fold(self, event: Event) -> None:
        """Return once the event is in the ledger and counted, and the alerts due by it are on the bus.

        A tick's housekeeping is done then too, or has failed; other events don't wait for it. Folding an event again is
        harmless. Raises `Unstorable`, or `StoreUnavailable`: then it must be folded again.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((event, done))
        await done
        if isinstance(event, Ticked):
            await self._keep_house()

    async def run(self) -> None:
        """Commit what waits, group by group, until cancelled."""
        while True:
            group = [await self._waiting.get()]
            while len(group) < MOST_AT_ONCE and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            for portion in portions(group, itemgetter(0), self._budgets):
                await self._settle(portion)
            await asyncio.sleep(self._interval_s)

    async def _settle(self, group: Sequence[Waiting]) -> None:
        """Fold a group; where it may be too much, or one of its events at fault, each half: only the culprit fails."""
        try:
            failures = await self._fold_group([event for event, _ in group])
        except Exception as error:  # noqa: BLE001 (a worker loop: the waiter raises it)
            if len(group) == 1 or (isinstance(error, StoreUnavailable) and not isinstance(error, Unstorable)):
                _resolve(group, {event.event_id: error for event, _ in group})
                return
            for half in halves(group):
                await self._settle(half)
        else:
            _resolve(group, failures)

    async def _fold_group(self, group: Sequence[Event]) -> Mapping[str, Exception]:
        """Commit, announce, reconcile; gives what must come again all the same, so that nothing of it is lost."""
        facts = [event for event in group if not isinstance(event, Ticked)]
        totals = (await commit_new(facts, self._ledger, self._budgets)).totals
        now = self._now()
        failures = await self._announcer.announce(group, totals, now)
        return failures | await self._reconcile_late(group, now)

    async def _reconcile_late(self, group: Sequence[Event], now: datetime) -> dict[str, Exception]:
        """Look at the allowances of late events; these come again where that can't be done, or not in time."""
        try:
            async with asyncio.timeout(_LATE_WITHIN_S):
                await reconcile_late(group, self._gate, self._counters, now)
        except (StoreUnavailable, TimeoutError) as error:
            failure = StoreUnavailable(f"The allowances of late events can't be looked at ({error!r}). Try again.")
            return dict.fromkeys(late_allowances(group, now), failure)
        return {}

    async def _keep_house(self) -> None:
        """Do what each tick does beside announcing, once at a time; what fails is tried again at the next tick."""
        if self._is_keeping_house:
            return
        self._is_keeping_house = True
        now = self._now()
        try:
            async with asyncio.timeout(_HOUSEKEEPING_S):
                await _attempt("telling of keys that expire", self._announcer.announce_expiring(now))
                await _attempt("reconciling allowances", reconcile_unsettled(self._gate, self._counters, now))
                await _attempt("sweeping allowances", sweep_expired(self._gate, now))
        except TimeoutError:
            _log.warning("the housekeeping of a tick takes longer than %s s; the next one goes on", _HOUSEKEEPING_S)
        finally:
            self._is_keeping_house = False


async def _attempt(what: str, chore: Awaitable[None]) -> None:
    """Do one thing of several: if it fails, the others are done all the same."""
    try:
        await chore
    except Exception:  # noqa: BLE001 (what fails is logged, and tried again)
        _log.exception("%s failed", what)


@dataclass(frozen=True, slots=True)
class Committed:
    """Which of some events were new, and the totals of the counters that these grew."""

    new: frozenset[str] = frozenset()
    totals: Mapping[str, int] = field(default_factory=dict[str, int])


async def commit_new(
    events: Iterable[Event], ledger: Ledger, budgets: Sequence[Budget], *, less: Set[str] = frozenset()
) -> Committed:
    """Commit those of the events that are new; of two with one id, one. The counters of `less` don't grow."""
    left: dict[str, Event] = {event.event_id: event for event in events}
    while left:
        fresh = list(left.values())
        try:
            grown = {name: by for name, by in increments(budgets, fresh).items() if name not in less}
            return Committed(frozenset(left), await ledger.commit(fresh, grown))
        except AlreadyRecorded as known:
            if not known.event_ids & left.keys():
                raise
            left = {name: event for name, event in left.items() if name not in known.event_ids}
    return Committed()


def _resolve(group: Sequence[Waiting], failures: Mapping[str, Exception]) -> None:
    for event, done in group:
        if not done.done():
            error = failures.get(event.event_id)
            done.set_exception(error) if error else done.set_result(None)


@asynccontextmanager
async def open_folder(folder: Folder) -> AsyncGenerator[Folder]:
    """Run the folder's worker for as long as the context is open."""
    async with asyncio.TaskGroup() as tasks:
        worker = tasks.create_task(folder.run())
        yield folder
        worker.cancel()
