"""Portions: how much of what arrives together is one commit. What counts is what it writes, not how many events it has.

A store has a limit for a commit, the entries of its indexes among it: events of one key share most of what they grow,
and those of strangers share little.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from events.activity import is_completion, slots_of
from events.budget import Budget, increments
from events.codec import Event

MOST_WRITES = 400
T = TypeVar("T")


def portions(
    items: Iterable[T], event_of: Callable[[T], Event], budgets: Sequence[Budget], *, most: int = MOST_WRITES
) -> Iterator[list[T]]:
    """Cut what goes with events, in its order, so that the events of each part come to `most` writes.

    One that comes to more alone is a part of its own.
    """
    portion: list[T] = []
    written: set[object] = set()
    for item in items:
        writes = _writes(event_of(item), budgets)
        if portion and len(written | writes) > most:
            yield portion
            portion, written = [], set()
        portion.append(item)
        written |= writes
    if portion:
        yield portion


def halves(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Cut in the middle."""
    middle = len(items) // 2
    return items[:middle], items[middle:]


def _writes(event: Event, budgets: Sequence[Budget]) -> set[object]:
    """Name what a commit of an event writes: the event, the counters, and the sums."""
    grown: set[object] = {("event", event.event_id), *increments(budgets, [event])}
    return grown.union(slots_of(event)) if is_completion(event) else grown
