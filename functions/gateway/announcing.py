"""Announcing: alerts that are due are published, then marked. Level-triggered: a crash in between repeats them.

The ids are deterministic, so that a repeat is known as one. What is due is asked after every commit, and of the budget
of all at every tick too. An event whose alerts could not be seen to is not acknowledged: the bus is what remembers.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from events.alerts import Alert, BudgetAlert, KeyExpiring
from events.budget import Budget, BudgetWindow, due_alerts, due_soft_budget, due_thresholds, is_counted
from events.codec import Event, UndecodableEvent
from events.keys import Key
from events.money import NanoUsd
from events.tick import Ticked
from events.window import Window
from functions.gateway.errors import StoreUnavailable, Unstorable
from functions.gateway.expiry import FURTHEST, due_expiry
from functions.gateway.holders import Named, budget_of, holder_of, holder_of_key, named_by
from functions.gateway.limits import Defaults, Parties
from functions.gateway.ports import BUDGET_ALERTS, Bus, Counters, Keys
from functions.gateway.remembered_holders import RememberedHolders

_EXPIRY_EVERY = timedelta(minutes=10)
_EXPIRIES_AT_ONCE = 20  # folding waits for them
_LOOK_WITHIN_S = 5.0
_MOST_REMEMBERED = 50_000
_log = logging.getLogger(__name__)
Due = Callable[[BudgetWindow], list[BudgetAlert]]


class Announcer:
    """Publishes alerts. `budgets` are those of all together; the others are found from whom the events name."""

    def __init__(
        self,
        *,
        budgets: Sequence[Budget],
        defaults: Defaults,
        keys: Keys,
        holders: RememberedHolders,
        counters: Counters,
        bus: Bus,
    ) -> None:
        self._budgets = budgets
        self._defaults = defaults
        self._keys = keys
        self._holders = holders
        self._counters = counters
        self._bus = bus
        self._announced: set[str] = set()
        self._looked_for_expiry_at: datetime | None = None

    async def announce(self, group: Sequence[Event], totals: Mapping[str, int], now: datetime) -> dict[str, Exception]:
        """Announce what a group, whose commit gave these `totals`, has made due.

        Gives the ids of the events that must come again for it, with the reason. Raises `StoreUnavailable`.
        """
        for budget in self._budgets:
            for window in _windows(budget, group, now):
                await self._announce_of_all(budget, window, totals.get(budget.counter(window)), now)
        failed = await self._announce_of_some(named_by(group), totals, now)
        return {
            event.event_id: failed[counter] for event in group for counter in named_by([event]) if counter in failed
        }

    async def announce_expiring(self, now: datetime) -> None:
        """Tell of the keys that will soon expire, a few at a time; what fails is tried again at the next tick."""
        if self._looked_for_expiry_at is not None and now - self._looked_for_expiry_at < _EXPIRY_EVERY:
            return
        try:
            found = [(key, alert) for key in await self._expiring(now) if (alert := due_expiry(key, now))]
            new = [(key, alert) for key, alert in found if not self._all_announced([alert])]
            for key, alert in new[:_EXPIRIES_AT_ONCE]:
                await self._announce_expiry(key, alert)
        except (StoreUnavailable, UndecodableEvent, TimeoutError) as error:
            _log.warning("keys that expire soon can't be looked for: %s", error)
            return
        if len(new) <= _EXPIRIES_AT_ONCE:
            self._looked_for_expiry_at = now

    async def _expiring(self, now: datetime) -> Sequence[Key]:
        async with asyncio.timeout(_LOOK_WITHIN_S):
            return await self._keys.expiring(now, now + FURTHEST)

    async def _announce_expiry(self, key: Key, alert: KeyExpiring) -> None:
        holder = holder_of_key(await self._holders.with_owners(Parties(key=key)))
        await self._bus.publish(BUDGET_ALERTS, replace(alert, holder=holder))
        self._remember([alert])

    async def _announce_of_all(self, budget: Budget, window: Window, total: int | None, now: datetime) -> None:
        def due(state: BudgetWindow) -> list[BudgetAlert]:
            return [*due_thresholds(budget, window, state, now), *due_soft_budget(budget, window, state, now)]

        counter = budget.counter(window)
        await self._publish(counter, await self._unannounced(counter, total, due))

    async def _announce_of_some(
        self, named: Mapping[str, Named], totals: Mapping[str, int], now: datetime
    ) -> dict[str, Exception]:
        """Look at the counters of keys, users, teams and end users; gives those that must be looked at again."""
        unread = await self._holders.read((whose.kind, whose.name) for whose in named.values())
        failed = {
            counter: unread[who] for counter, whose in named.items() if (who := (whose.kind, whose.name)) in unread
        }
        looks = {
            name: self._look(name, whose, totals.get(name), now) for name, whose in named.items() if name not in failed
        }
        outcomes = await asyncio.gather(*looks.values(), return_exceptions=True)
        failed |= {name: error for name, error in zip(looks, outcomes, strict=True) if isinstance(error, Exception)}
        return {name: error for name, error in failed.items() if _may_pass(name, error)}

    async def _look(self, counter: str, whose: Named, total: int | None, now: datetime) -> None:
        party = self._holders.party(whose.kind, whose.name)
        found = budget_of(counter, party, whose.alias, self._defaults)
        if found is None:
            return
        budget, window = found
        alerts = await self._unannounced(counter, total, lambda state: due_alerts(budget, window, state, now))
        if alerts:
            holder = holder_of(whose.kind, budget, await self._holders.with_owners(party))
            await self._publish(counter, [replace(alert, holder=holder) for alert in alerts])

    async def _unannounced(self, counter: str, total: int | None, due: Due) -> list[BudgetAlert]:
        """Give the alerts that are due and unmarked.

        `total` is the counter's, where this commit grew it: mostly it shows, without a read, that nothing is new.
        """
        if total is not None and self._all_announced(due(BudgetWindow(NanoUsd(total)))):
            return []
        state = await self._counters.read(counter)
        alerts = due(state)
        self._remember(alert for alert in due(BudgetWindow(state.spent)) if state.has_marked(alert.mark))
        return alerts

    async def _publish(self, counter: str, alerts: Sequence[BudgetAlert]) -> None:
        for alert in alerts:
            await self._bus.publish(BUDGET_ALERTS, alert)
        if alerts:
            await self._counters.mark_announced(counter, [alert.mark for alert in alerts])
        self._remember(alerts)

    def _all_announced(self, alerts: Iterable[Alert]) -> bool:
        return all(alert.event_id in self._announced for alert in alerts)

    def _remember(self, alerts: Iterable[Alert]) -> None:
        if len(self._announced) > _MOST_REMEMBERED:
            self._announced.clear()  # they are marked too
        self._announced.update(alert.event_id for alert in alerts)


def _windows(budget: Budget, group: Sequence[Event], now: datetime) -> set[Window]:
    """Give the windows that a group is about: those that it counts in, and at a tick the present one."""
    counted = {budget.window_of(event) for event in group if is_counted(event)}
    return counted | {budget.window(now) for event in group if isinstance(event, Ticked)}


def _may_pass(counter: str, error: Exception) -> bool:
    """Say whether it is worth asking again; what never can be announced is logged, and holds up no event."""
    if isinstance(error, StoreUnavailable) and not isinstance(error, Unstorable):
        return True
    _log.error("alerts of %s can't be announced: %s", counter, error)
    return False
