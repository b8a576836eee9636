"""Replaying: the ledger, added up from nothing, against what the stores say.

It is read event by event. In memory is what it comes to: a number for each counter, and the last change of each key,
user and team.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import partial
from typing import get_args

from events import accounts as account_events
from events import keys as key_events
from events.accounts import Account, AccountEvent, AccountKind, account_after, id_of, name_of, version_of
from events.allowance import is_allowance
from events.budget import Budget, increments, is_counted
from events.codec import Event
from events.keys import Key, KeyEvent, replay_keys, subject_of
from events.money import NOTHING, NanoUsd, usd
from functions.gateway.ports import AccountQuery, Accounts, Counters, Gate, Keys

_AT_ONCE = 100
_Name = tuple[AccountKind, str]
_HOLDERS = ("key", "user", "team", "end_user")


@dataclass(slots=True)
class Replayed:
    """What the events so far come to."""

    counters: dict[str, NanoUsd] = field(default_factory=dict[str, NanoUsd])
    changes: dict[str, KeyEvent] = field(default_factory=dict[str, KeyEvent])  # the last of each key
    account_changes: dict[_Name, AccountEvent] = field(default_factory=dict[_Name, AccountEvent])  # the same

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
            self.changes[key_id] = key_events.evolve(self.changes.get(key_id), event)
        if isinstance(event, AccountEvent):
            name = name_of(event)
            self.account_changes[name] = account_events.evolve(self.account_changes.get(name), event)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a store says otherwise than the ledger does, in one line, and what puts it right."""

    line: str
    repair: Callable[[], Awaitable[None]]


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


async def stored_accounts(accounts: Accounts) -> dict[_Name, Account]:
    """Give every user and team."""
    found: dict[_Name, Account] = {}
    for kind in get_args(AccountKind):
        offset = 0
        while page := (await accounts.page(kind, AccountQuery(offset=offset, limit=_AT_ONCE))).accounts:
            found |= {(kind, id_of(account)): account for account in page}
            offset += len(page)
    return found


async def differing_accounts(
    stored: Mapping[_Name, Account], truth: Mapping[_Name, AccountEvent], accounts: Accounts
) -> list[Difference]:
    """Compare users and teams with the last change of each; of those that are gone, by which version they are."""
    names = sorted({*stored, *truth})
    found = [_account(name, stored.get(name), truth.get(name), accounts) for name in names]
    ends = {name: last for name, last in truth.items() if name not in stored and account_after(last) is None}
    return [*filter(None, found), *await _differing_ends(ends, accounts)]


async def _differing_ends(ends: Mapping[_Name, AccountEvent], accounts: Accounts) -> list[Difference]:
    found: list[Difference] = []
    names = sorted(ends)
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        following = await asyncio.gather(*(accounts.next_version(*name) for name in some))
        for name, version in zip(some, following, strict=True):
            if version != (end := version_of(ends[name])) + 1:
                line = f"{' '.join(name)}: store gone with version {version - 1}, ledger with version {end}"
                found.append(Difference(line, partial(accounts.restore, *name, ends[name])))
    return found


def _account(name: _Name, stored: Account | None, last: AccountEvent | None, accounts: Accounts) -> Difference | None:
    right = last and account_after(last)
    if stored == right:
        return None
    line = f"{' '.join(name)}: store {_told(stored, right)}, ledger {_told(right, stored)}"
    return Difference(line, partial(accounts.restore, *name, last))


def _told(one: Key | Account | None, other: Key | Account | None) -> str:
    """Say what is otherwise in one than in the other."""
    if one is None:
        return "none"
    if other is None:
        return f"version {one.version}"
    values = {f.name: getattr(one, f.name) for f in fields(one)}
    differing = {name: value for name, value in values.items() if value != getattr(other, name, None)}
    return json.dumps(differing, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def dollars(spent: NanoUsd) -> str:
    """Write an amount to the nano-USD."""
    return f"${usd(spent):.9f}"
