"""Replaying: the ledger, added up from nothing, against what the stores say.

It is read event by event. In memory is what it comes to: a number for each counter, each key's last change, and the
changes of users and teams.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import get_args

from events.accounts import Account, AccountEvent, AccountKind, id_of, replay_accounts
from events.allowance import is_allowance
from events.budget import Budget, increments, is_counted
from events.codec import Event
from events.keys import Key, KeyEvent, evolve, replay_keys, subject_of
from events.money import NOTHING, NanoUsd, usd
from functions.gateway.ports import AccountQuery, Accounts, Counters, Gate, Keys

_AT_ONCE = 100
_HOLDERS = ("key", "user", "team", "end_user")


@dataclass(slots=True)
class Replayed:
    """What the events so far come to."""

    counters: dict[str, NanoUsd] = field(default_factory=dict[str, NanoUsd])
    changes: dict[str, KeyEvent] = field(default_factory=dict[str, KeyEvent])  # the last of each key
    account_changes: list[AccountEvent] = field(default_factory=list[AccountEvent])

    @property
    def accounts(self) -> dict[tuple[AccountKind, str], Account]:
        """Give the users and teams that there are."""
        return replay_accounts(self.account_changes)

    @property
    def keys(self) -> dict[str, Key]:
        """Give the keys that there are, by their hashes."""
        return replay_keys(self.changes.values())

    def follow(self, event: Event, budgets: Sequence[Budget]) -> None:
        """Add one more event, which none of those before was."""
        for counter, by in increments(budgets, [event]).items():
            self.counters[counter] = NanoUsd(self.counters.get(counter, NOTHING) + by)
        if isinstance(event, KeyEvent):
            key_id = subject_of(event).key_id
            self.changes[key_id] = evolve(self.changes.get(key_id), event)
        if isinstance(event, AccountEvent):
            self.account_changes.append(event)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a store says otherwise than the ledger does, in one line, and what puts it right, where something does."""

    line: str
    repair: Callable[[], Awaitable[None]] | None


async def replayed(
    events: AsyncIterator[Event], budgets: Sequence[Budget], gate: Gate | None = None, *, at_once: int = 10_000
) -> Replayed:
    """Follow every event of a ledger.

    Of allowances that the `gate` has forgotten, no more than `at_once` are kept in memory: they are nobody's any more.
    """
    found = Replayed()
    unasked: set[str] = set()
    async for event in events:
        found.follow(event, budgets)
        if gate is not None and is_counted(event):
            unasked.update(filter(is_allowance, event.allowance_ids))
        if gate is not None and len(unasked) >= at_once:
            for name in await _forgotten(sorted(unasked), gate):
                found.counters.pop(name, None)
            unasked.clear()
    return found


async def stored_counters(counters: Counters) -> dict[str, NanoUsd]:
    """Give what every counter says."""
    return {name: spent async for name, spent in counters.all()}


def is_ours(counter: str, truth: Mapping[str, NanoUsd], budgets: Iterable[Budget]) -> bool:
    """Say whether the ledger decides on a counter: not on one that was counted under another configuration."""
    is_of_some = is_allowance(counter) or counter.partition(":")[0] in _HOLDERS
    return counter in truth or is_of_some or any(budget.has_counter(counter) for budget in budgets)


async def differing_counters(
    stored: Mapping[str, NanoUsd], truth: Mapping[str, NanoUsd], counters: Counters, gate: Gate
) -> list[Difference]:
    """Compare counters. Those of allowances that the gate has forgotten are nobody's any more."""
    names = [name for name in sorted({*stored, *truth}) if stored.get(name, NOTHING) != truth.get(name, NOTHING)]
    forgotten = await _forgotten([name for name in names if is_allowance(name)], gate)
    return [
        _counter(name, stored.get(name, NOTHING), truth.get(name, NOTHING), counters)
        for name in names
        if name not in forgotten
    ]


async def _forgotten(allowance_ids: Sequence[str], gate: Gate) -> set[str]:
    known: set[str] = set()
    for start in range(0, len(allowance_ids), _AT_ONCE):
        found = await gate.known(allowance_ids[start : start + _AT_ONCE])
        known |= {allowance.allowance_id for allowance in found}
    return set(allowance_ids) - known


def _counter(name: str, counted: NanoUsd, right: NanoUsd, counters: Counters) -> Difference:
    line = f"{name}: counter {dollars(counted)}, ledger {dollars(right)}"
    return Difference(line, partial(counters.set_spent, name, right))


async def stored_keys(keys: Keys) -> dict[str, Key]:
    """Give every key, by its hash."""
    return {key.key_hash: key async for key in keys.all()}


def differing_keys(stored: Mapping[str, Key], truth: Mapping[str, Key], keys: Keys) -> list[Difference]:
    """Compare keys. Those that are gone come first: what was theirs alone is free then."""
    names = [name for name in {*stored, *truth} if stored.get(name) != truth.get(name)]
    ordered = sorted(names, key=lambda name: (name in truth, name))
    return [_key(stored.get(name), truth.get(name), keys) for name in ordered]


def _key(stored: Key | None, right: Key | None, keys: Keys) -> Difference:
    either = stored or right
    line = f"key {either and either.key_hash}: store {_told(stored, right)}, ledger {_told(right, stored)}"
    return Difference(line, partial(keys.restore, stored, right))


async def stored_accounts(accounts: Accounts) -> dict[tuple[AccountKind, str], Account]:
    """Give every user and team."""
    found: dict[tuple[AccountKind, str], Account] = {}
    for kind in get_args(AccountKind):
        offset = 0
        while page := (await accounts.page(kind, AccountQuery(offset=offset, limit=_AT_ONCE))).accounts:
            found |= {(kind, id_of(account)): account for account in page}
            offset += len(page)
    return found


def differing_accounts(
    stored: Mapping[tuple[AccountKind, str], Account], truth: Mapping[tuple[AccountKind, str], Account]
) -> list[Difference]:
    """Compare users and teams; nothing puts them right."""
    return [
        Difference(f"{' '.join(name)}: store {_told(mine, right)}, ledger {_told(right, mine)}", None)
        for name in sorted({*stored, *truth})
        if (mine := stored.get(name)) != (right := truth.get(name))
    ]


def _told(one: Key | Account | None, other: Key | Account | None) -> str:
    """Say what is otherwise in one than in the other."""
    if one is None:
        return "none"
    if other is None:
        return f"version {one.version}"
    values = {f.name: getattr(one, f.name) for f in fields(one)}
    differing = {name: value for name, value in values.items() if value != getattr(other, name, None)}
    return json.dumps(differing, ensure_ascii=False, default=str)


def dollars(spent: NanoUsd) -> str:
    """Write an amount to the nano-USD."""
    return f"${usd(spent):.9f}"
