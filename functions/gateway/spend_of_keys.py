"""What keys have spent: in the present window of their budget, and in all."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from events.activity import ALL_TIME, ZERO
from events.budget import Budget, budget_id_of
from events.keys import Key
from events.money import NanoUsd
from functions.gateway.limits import NO_DEFAULTS, Parties, limits_of
from functions.gateway.ports import Activity, Counters


@dataclass(frozen=True, slots=True)
class KeySpend:
    """What one key has spent. `spend` is that of the present window, where its budget has one, else of all time."""

    spend: NanoUsd
    total_spend: NanoUsd
    resets_at: datetime | None


class KeySpending:
    """Knows what keys have spent, as folded so far. `now` gives aware UTC time."""

    def __init__(self, activity: Activity, counters: Counters, *, now: Callable[[], datetime]) -> None:
        self._activity = activity
        self._counters = counters
        self._now = now

    async def of(self, keys: Sequence[Key]) -> Mapping[str, KeySpend]:
        """Say what each of the keys has spent, by `key_id`. Raises `StoreUnavailable`."""
        totals = await self._activity.named(ALL_TIME, "key", [key.key_id for key in keys])
        spent = await asyncio.gather(*(self._spend(key, totals.get(key.key_id, ZERO).spend) for key in keys))
        return {key.key_id: of_key for key, of_key in zip(keys, spent, strict=True)}

    async def _spend(self, key: Key, total: NanoUsd) -> KeySpend:
        budget = _windowed_budget(key)
        if budget is None:
            return KeySpend(total, total, None)
        window = budget.window(self._now())
        state = await self._counters.read(budget.counter(window))
        return KeySpend(state.spent, total, window.ends_at)


def _windowed_budget(key: Key) -> Budget | None:
    """Give a key's own budget, where it has one that starts anew."""
    own = budget_id_of("key", key.key_id)
    budgets = limits_of(Parties(key=key), "", NO_DEFAULTS).budgets
    return next((budget for budget in budgets if budget.budget_id == own and budget.duration is not None), None)
