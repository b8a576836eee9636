"""Importing: the events of another ledger become this one's, with counters and records as they would have been.

Nothing is announced. Importing again is harmless: what is known by its id is passed over. Requests are taken as they
come; the changes of keys, users and teams are kept in memory until the end, and taken in the order of their times.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter

from events import accounts, keys
from events.accounts import AccountEvent, id_of, kind_of
from events.allowance import Allowance, allowance_id, expiry_of, is_allowance
from events.budget import Budget, increments
from events.codec import Event, UndecodableEvent, decode
from events.keys import KeyEvent
from events.money import NOTHING, NanoUsd
from events.spend import CompletionFailed, SpendRecorded
from events.window import Window
from functions.gateway.errors import Unstorable
from functions.gateway.folding import MOST_AT_ONCE, commit_new
from functions.gateway.holders import Named, budget_of, named_by
from functions.gateway.limits import Defaults
from functions.gateway.portions import halves, portions
from functions.gateway.ports import (
    AccountChangedMeanwhile,
    Accounts,
    AliasTaken,
    Counters,
    Gate,
    KeyChangedMeanwhile,
    Keys,
    KeyTaken,
    Ledger,
)
from functions.gateway.reconciling import reconcile_late
from functions.gateway.remembered_holders import RememberedHolders

Completion = SpendRecorded | CompletionFailed
Change = KeyEvent | AccountEvent
_REASONS = {
    KeyChangedMeanwhile: "another change of this version of the key is recorded",
    AccountChangedMeanwhile: "another change of this version is recorded",
    KeyTaken: "there is another key with this hash, or was once",
    AliasTaken: "another key has this alias",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that was not taken, and why."""

    line: int
    reason: str


@dataclass(slots=True)
class Imported:
    """What became of the lines."""

    new: int = 0
    known: int = 0
    refusals: list[Refusal] = field(default_factory=list[Refusal])

    def count(self, *, is_new: bool) -> None:
        """Add a line that was taken."""
        self.new += is_new
        self.known += not is_new


class Importer:
    """Imports one ledger. `new_id` gives what is like no other."""

    def __init__(
        self,
        *,
        budgets: Sequence[Budget],
        defaults: Defaults,
        ledger: Ledger,
        counters: Counters,
        gate: Gate,
        keys: Keys,
        accounts: Accounts,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._budgets = budgets
        self._defaults = defaults
        self._ledger = ledger
        self._counters = counters
        self._gate = gate
        self._keys = keys
        self._accounts = accounts
        self._now = now
        self._new_id = new_id
        self._imported = Imported()
        self._touched: set[str] = set()  # counters
        self._named: dict[str, Named] = {}  # whose they are
        self._holders = RememberedHolders(keys, accounts, clock=lambda: now().timestamp())

    async def take(self, lines: Iterable[bytes]) -> Imported:
        """Take every line. Raises `StoreUnavailable`: then all of it may be taken again."""
        group: list[tuple[int, Completion]] = []
        changes: list[tuple[int, Change]] = []
        for line, event in self._decoded(lines):
            if isinstance(event, Change):
                changes.append((line, event))
                continue
            group.append((line, event))
            if len(group) == MOST_AT_ONCE:
                await self._take_portions(group)
                group = []
        await self._take_portions(group)
        await self._take_changes(in_order(changes))
        await self._admit()
        self._imported.refusals.sort(key=lambda refusal: refusal.line)
        return self._imported

    def _decoded(self, lines: Iterable[bytes]) -> Iterator[tuple[int, Completion | Change]]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, importable(decode(line))
            except UndecodableEvent as error:
                self._refuse(number, str(error))

    async def _take_portions(self, group: Sequence[tuple[int, Completion]]) -> None:
        for portion in portions(group, itemgetter(1), self._budgets):
            await self._take_completions(portion)

    async def _take_completions(self, group: Sequence[tuple[int, Completion]]) -> None:
        """Take some together; where that can't be stored, each half."""
        events = [event for _, event in group]
        try:
            committed = await commit_new(events, self._ledger, self._budgets, less=await self._foreign(events))
        except Unstorable as error:
            if len(group) == 1:
                self._refuse(group[0][0], str(error))
                return
            for half in halves(group):
                await self._take_completions(half)
            return
        self._imported.new += len(committed.new)
        self._imported.known += len(group) - len(committed.new)
        self._touched |= {name for name in increments(self._budgets, events) if not is_allowance(name)}
        self._named |= named_by(events)
        await reconcile_late(events, self._gate, self._counters, self._now())

    async def _foreign(self, events: Sequence[Completion]) -> frozenset[str]:
        """Give the allowances that the gate doesn't know: nobody asks for what was spent of them, nor forgets it."""
        named = {name for name in increments(self._budgets, events) if is_allowance(name)}
        known = await self._gate.known(sorted(named))
        return frozenset(named - {allowance.allowance_id for allowance in known})

    async def _take_changes(self, changes: Sequence[tuple[int, Change]]) -> None:
        """Take them in turn; an alias may only be free when another change was taken, whatever their times say."""
        while changes:
            waiting: list[tuple[int, Change]] = []
            for line, event in changes:
                if not await self._take_change(line, event):
                    waiting.append((line, event))
            if len(waiting) == len(changes):
                for line, _ in waiting:
                    self._refuse(line, _REASONS[AliasTaken])
                return
            changes = waiting

    async def _take_change(self, line: int, event: Change) -> bool:
        """Take one, unless its alias is taken."""
        is_new = not await self._ledger.known([event.event_id])
        try:
            await self._commit(event, is_new=is_new)
        except AliasTaken:
            return False
        except (KeyChangedMeanwhile, AccountChangedMeanwhile, KeyTaken) as error:
            self._refuse(line, _REASONS[type(error)])
        except Unstorable as error:
            self._refuse(line, str(error))
        else:
            self._imported.count(is_new=is_new)
        return True

    async def _commit(self, event: Change, *, is_new: bool) -> None:
        """Record a change with what it changes; one of the past, which a later one came after, by itself."""
        if is_new and await self._is_past(event):
            await self._ledger.commit([event], {})
        elif isinstance(event, KeyEvent):
            await self._keys.commit([event])
        else:
            await self._accounts.commit([event])

    async def _is_past(self, event: Change) -> bool:
        if isinstance(event, KeyEvent):
            key = await self._keys.by_id(keys.subject_of(event).key_id)
            return key is not None and key.version >= keys.version_of(event)
        subject = accounts.subject_of(event)
        return await self._accounts.next_version(kind_of(subject), id_of(subject)) > accounts.version_of(event)

    async def _admit(self) -> None:
        """Have the gate count as handed out, of each window, what is spent: or else it could be spent again.

        A window that is over, or that no budget has any more, is nobody's to spend.
        """
        for counter in sorted(self._touched):
            window = await self._window(counter)
            if window is not None and (window.is_endless or window.ends_at > self._now()):
                await self._lift(counter, window)

    async def _window(self, counter: str) -> Window | None:
        for budget in self._budgets:
            if window := budget.window_named(counter):
                return window
        if (whose := self._named.get(counter)) is None:
            return None
        for error in (await self._holders.read([(whose.kind, whose.name)])).values():
            raise error
        party = self._holders.party(whose.kind, whose.name)
        found = budget_of(counter, party, whose.alias, self._defaults)
        return found and found[1]

    async def _lift(self, counter: str, window: Window) -> None:
        spent = (await self._counters.read(counter)).spent
        missing = NanoUsd(spent - await self._gate.admitted(counter))
        if missing <= 0:
            return
        now = self._now()
        lifting = Allowance(
            allowance_id=allowance_id(counter, self._new_id()),
            granted=missing,
            settled_by=now,
            returned=NOTHING,  # all of it is spent, and nothing to be reconciled
            expires_at=expiry_of(now, window),
        )
        gate_expires_at = None if window.is_endless else lifting.expires_at
        await self._gate.take(lifting, limit=spent, gate_expires_at=gate_expires_at)

    def _refuse(self, line: int, reason: str) -> None:
        self._imported.refusals.append(Refusal(line, reason))


def importable(event: Event) -> Completion | Change:
    """Give an event that a ledger may have. Raises `UndecodableEvent` for another."""
    if isinstance(event, SpendRecorded | CompletionFailed):
        return event
    if not isinstance(event, Change):
        raise UndecodableEvent(f"{event.type} is nothing that a ledger has")
    if event.event_id != _id_of(event):
        raise UndecodableEvent(f"'id' is not {_id_of(event)!r}, as that of this change is")
    return event


def in_order(changes: Iterable[tuple[int, Change]]) -> list[tuple[int, Change]]:
    """Sort changes by their times, but those of one subject by their versions, however the clocks went."""
    latest: dict[str, datetime] = {}
    timed: list[tuple[datetime, int, tuple[int, Change]]] = []
    for line, event in sorted(changes, key=lambda change: _version(change[1])):
        subject = event.event_id.rpartition(":")[0]
        latest[subject] = max(event.time, latest.get(subject, event.time))
        timed.append((latest[subject], _version(event), (line, event)))
    return [change for _, _, change in sorted(timed, key=lambda entry: entry[:2])]


def _version(event: Change) -> int:
    return keys.version_of(event) if isinstance(event, KeyEvent) else accounts.version_of(event)


def _id_of(event: Change) -> str:
    if isinstance(event, KeyEvent):
        return keys.event_id_of(keys.subject_of(event).key_id, keys.version_of(event))
    return accounts.event_id_of(accounts.subject_of(event), accounts.version_of(event))
