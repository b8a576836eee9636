"""What keys, users and teams have spent: in the present window of their budget, and in all."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from events.accounts import Account, AccountKind, User, id_of
from events.activity import ALL_TIME, ZERO
from events.budget import Budget, budget_id_of
from events.keys import Key
from events.money import NanoUsd
from functions.gateway.limits import NO_DEFAULTS, Defaults, Parties, limits_of
from functions.gateway.ports import Activity, Counters


@dataclass(frozen=True, slots=True)
class Spent:
    """What somebody has spent. `spend` is that of the present window, where their budget has one, else of all time."""

    spend: NanoUsd
    total_spend: NanoUsd
    resets_at: datetime | None


class Spending:
    """Knows what was spent, as folded so far. `now` gives aware UTC time. Each raises `StoreUnavailable`."""

    def __init__(
        self,
        activity: Activity,
        counters: Counters,
        defaults: Defaults = NO_DEFAULTS,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._activity = activity
        self._counters = counters
        self._defaults = defaults
        self._now = now

    async def of_keys(self, keys: Sequence[Key]) -> Mapping[str, Spent]:
        """Say what each of the keys has spent, by `key_id`."""
        return await self._of("key", {key.key_id: Parties(key=key) for key in keys})

    async def of_accounts(self, kind: AccountKind, accounts: Sequence[Account]) -> Mapping[str, Spent]:
        """Say what each of some users or teams has spent, by their ids."""
        return await self._of(kind, {id_of(account): _party(account) for account in accounts})

    async def total_of_key(self, key_id: str) -> NanoUsd:
        """Say what a key has spent in all."""
        totals = await self._activity.named(ALL_TIME, "key", [key_id])
        return totals.get(key_id, ZERO).spend

    async def _of(self, kind: Literal["key", "user", "team"], parties: Mapping[str, Parties]) -> Mapping[str, Spent]:
        totals = await self._activity.named(ALL_TIME, kind, list(parties))
        spent = await asyncio.gather(*(
            self._spent(self._windowed_budget(budget_id_of(kind, name), party), totals.get(name, ZERO).spend)
            for name, party in parties.items()
        ))  # fmt: skip
        return dict(zip(parties, spent, strict=True))

    async def _spent(self, budget: Budget | None, total: NanoUsd) -> Spent:
        if budget is None:
            return Spent(total, total, None)
        window = budget.window(self._now())
        state = await self._counters.read(budget.counter(window))
        return Spent(state.spent, total, window.ends_at)

    def _windowed_budget(self, budget_id: str, party: Parties) -> Budget | None:
        """Give somebody's own budget, where it has one that starts anew."""
        budgets = limits_of(party, "", self._defaults).budgets
        return next((one for one in budgets if one.budget_id == budget_id and one.duration is not None), None)


def _party(account: Account) -> Parties:
    return Parties(user=account) if isinstance(account, User) else Parties(team=account)
