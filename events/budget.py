"""Budgets: how spend adds up in a window, and when an alert is due."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from hashlib import sha256
from typing import TypeGuard, assert_never
from urllib.parse import quote, unquote

from events.alerts import BudgetAlert, Mark, ProjectedExceeded, SoftBudgetCrossed, ThresholdCrossed
from events.allowance import counter_of, counters_of
from events.money import NOTHING, NanoUsd
from events.spend import CompletionFailed, SpendRecorded
from events.window import ENDLESS, Window, window_at

_LONGEST_NAME = 100  # with a key's hash and a window's name it is an event's id
_SHORTEST_PROJECTED = timedelta(hours=1)
_ALL = 100  # percent
_TOO_EARLY = 10  # what a tenth of a window says of the rest is chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit and its period. Without `max_budget` it only counts.

    `thresholds` are percentages of `max_budget` at which an alert is due, `soft_budget` an amount at which one is.
    `duration` is as `window_at` takes it; `anchor`, where it is not the calendar's, when the first window began.
    """

    budget_id: str
    max_budget: NanoUsd | None
    duration: str | None
    thresholds: tuple[int, ...] = ()
    soft_budget: NanoUsd | None = None
    anchor: datetime | None = None

    def window(self, time: datetime) -> Window:
        """Give the budget's window at `time`."""
        return window_at(self.duration, time, self.anchor)

    def counter(self, window: Window) -> str:
        """Name the counter of one window, such as `global:2026-11-23`."""
        return f"{self.budget_id}:{window.key}"

    def has_counter(self, name: str) -> bool:
        """Say whether a counter is that of one of this budget's windows; its duration may have been another once."""
        return self.window_named(name) is not None

    def window_of(self, spend: SpendRecorded | CompletionFailed) -> Window:
        """Give the window in which a spend counts: that of its allowance of this budget, or else of its own time."""
        for allowance_id in spend.allowance_ids:
            if window := self.window_named(counter_of(allowance_id)):
                return window
        return self.window(spend.time)

    def window_named(self, counter: str) -> Window | None:
        """Give the window whose counter this is, unless it is that of no window of this budget."""
        prefix = f"{self.budget_id}:"
        if not counter.startswith(prefix):
            return None
        key = counter.removeprefix(prefix)
        if self.duration is None:
            return ENDLESS if key == ENDLESS.key else None
        try:
            starts_at = datetime.fromisoformat(f"{key}-01" if len(key) == len("2026-11") else key)
            window = self.window(starts_at.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            return None
        return window if window.key == key else None


def budget_id_of(scope: str, *names: str) -> str:
    """Name the budget of a scope, such as `team:red` or `key:5f3c…:gpt-4o`; every store takes it as a key."""
    return ":".join((scope, *(_quoted(name) for name in names)))


def scope_of(budget_id: str) -> tuple[str, str | None]:
    """Say whose a budget is: the kind and the name; that of a key for one model is the model's."""
    scope, *names = budget_id.split(":")
    if not names:
        return scope, None
    return ("model" if len(names) > 1 else scope), unquote(names[-1])


def _quoted(name: str) -> str:
    quoted = quote(name, safe="")
    return quoted if len(quoted) <= _LONGEST_NAME else f"sha256-{sha256(name.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class BudgetWindow:
    """What has been counted in one window: the money spent, and what was announced of it.

    `crossed` are the thresholds, `announced` the other marks.
    """

    spent: NanoUsd = NOTHING
    crossed: frozenset[int] = frozenset()
    announced: frozenset[str] = frozenset()

    def has_marked(self, mark: Mark) -> bool:
        """Say whether this was announced."""
        return mark in (self.crossed if isinstance(mark, int) else self.announced)


def evolve(state: BudgetWindow, event: SpendRecorded | CompletionFailed | BudgetAlert) -> BudgetWindow:
    """Follow one event. It never refuses: the event describes what already happened."""
    match event:
        case SpendRecorded() | CompletionFailed():
            return replace(state, spent=NanoUsd(state.spent + event.cost))
        case ThresholdCrossed():
            return replace(state, crossed=state.crossed | {event.percent})
        case SoftBudgetCrossed() | ProjectedExceeded():
            return replace(state, announced=state.announced | {str(event.mark)})
        case _:
            assert_never(event)


def fold(state: BudgetWindow, events: Iterable[SpendRecorded | CompletionFailed | BudgetAlert]) -> BudgetWindow:
    """Follow all events in turn; the order does not matter."""
    return reduce(evolve, events, state)


def is_counted(event: object) -> TypeGuard[SpendRecorded | CompletionFailed]:
    """Say whether an event grows counters: an answer does, and a failure that was billed all the same."""
    return isinstance(event, SpendRecorded) or (isinstance(event, CompletionFailed) and event.cost > 0)


def increments(budgets: Iterable[Budget], events: Iterable[object]) -> dict[str, int]:
    """Say by how much each counter grows, in nano-USD, for these events (each counted once).

    Events that cost nothing (most failures, ticks) add nothing. However late it arrives, a spend belongs to the windows
    that it was admitted to, and to each of its allowances, whose own counters are named as they are; of a budget that
    gave it none, to the window of its own `time`.
    """
    budgets = list(budgets)
    grown: dict[str, int] = {}
    for spend in events:
        if is_counted(spend):
            for counter in _counters(budgets, spend):
                grown[counter] = grown.get(counter, 0) + spend.cost
    return grown


def _counters(budgets: Iterable[Budget], spend: SpendRecorded | CompletionFailed) -> set[str]:
    named = {counter for name in spend.allowance_ids for counter in counters_of(name)}
    return named | {budget.counter(budget.window_of(spend)) for budget in budgets}


def due_alerts(budget: Budget, window: Window, state: BudgetWindow, now: datetime) -> list[BudgetAlert]:
    """Decide what is to be told of a window and is unannounced; safe to ask again after a crash."""
    return [
        *due_thresholds(budget, window, state, now),
        *due_soft_budget(budget, window, state, now),
        *due_projection(budget, window, state, now),
    ]


def due_thresholds(budget: Budget, window: Window, state: BudgetWindow, now: datetime) -> list[ThresholdCrossed]:
    """Decide which thresholds are reached and unannounced. A budget of nothing has no part to reach."""
    if budget.max_budget is None:
        return []
    return [
        _threshold_crossed(budget, window, state, now, percent, budget.max_budget)
        for percent in sorted(set(budget.thresholds) - state.crossed)
        if state.spent * 100 >= budget.max_budget * percent > 0
    ]


def due_refusal(budget: Budget, window: Window, state: BudgetWindow, now: datetime) -> ThresholdCrossed | None:
    """Decide whether it is to be told that a budget refuses: as its threshold of 100 %, which it may never reach.

    A budget that is never passed ends before its last cent: what is left pays for no request. What it refuses with less
    than half of it spent is a request too large for it, and of a budget without thresholds nobody wants to hear.
    """
    if not budget.max_budget or not budget.thresholds or _ALL in state.crossed:
        return None
    if state.spent * 2 < budget.max_budget:
        return None
    return _threshold_crossed(budget, window, state, now, _ALL, budget.max_budget)


def _threshold_crossed(
    budget: Budget, window: Window, state: BudgetWindow, now: datetime, percent: int, max_budget: NanoUsd
) -> ThresholdCrossed:
    return ThresholdCrossed(
        event_id=f"{budget.counter(window)}:{percent}",
        time=now,
        budget_id=budget.budget_id,
        window=window.key,
        window_ends_at=_end(window),
        percent=percent,
        spent=state.spent,
        max_budget=max_budget,
    )


def due_soft_budget(budget: Budget, window: Window, state: BudgetWindow, now: datetime) -> list[SoftBudgetCrossed]:
    """Decide whether the soft budget is reached and unannounced. One of nothing is none."""
    if not budget.soft_budget or state.spent < budget.soft_budget or state.has_marked("soft_budget"):
        return []
    return [
        SoftBudgetCrossed(
            event_id=f"{budget.counter(window)}:soft",
            time=now,
            budget_id=budget.budget_id,
            window=window.key,
            window_ends_at=_end(window),
            spent=state.spent,
            soft_budget=budget.soft_budget,
            max_budget=budget.max_budget,
        )
    ]


def due_projection(budget: Budget, window: Window, state: BudgetWindow, now: datetime) -> list[ProjectedExceeded]:
    """Decide whether a window would pass its limit if it went on like this, and that is unannounced.

    One that has reached it already is told of by the other alerts; one that has hardly begun says nothing.
    """
    limit = budget.soft_budget or budget.max_budget
    length, elapsed = _microseconds(window, now)
    is_telling = length >= _SHORTEST_PROJECTED // timedelta(microseconds=1) and length <= elapsed * _TOO_EARLY
    if not limit or not is_telling or elapsed >= length or state.has_marked("projected"):
        return []
    if state.spent >= limit or state.spent * length <= limit * elapsed:
        return []
    return [
        ProjectedExceeded(
            event_id=f"{budget.counter(window)}:projected",
            time=now,
            budget_id=budget.budget_id,
            window=window.key,
            window_ends_at=window.ends_at,
            spent=state.spent,
            soft_budget=budget.soft_budget,
            max_budget=budget.max_budget,
            projected=NanoUsd(state.spent * length // elapsed),
            exceeded_at=window.starts_at + timedelta(microseconds=elapsed * limit // state.spent),
        )
    ]


def _microseconds(window: Window, now: datetime) -> tuple[int, int]:
    """Give a window's length, and how much of it is over; an endless one has neither."""
    if window.is_endless:
        return 0, 0
    microsecond = timedelta(microseconds=1)
    return (window.ends_at - window.starts_at) // microsecond, (now - window.starts_at) // microsecond


def _end(window: Window) -> datetime | None:
    return None if window.is_endless else window.ends_at
