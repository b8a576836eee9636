"""Activity against the ledger: adding it up from nothing, and having what is stored say the same."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from events.activity import ZERO, Completion, Slot, Sums, activity, is_completion
from functions.gateway.ports import Activity, Ledger

_AT_ONCE = 300


@dataclass(frozen=True, slots=True)
class ActivityDifferences:
    """How activity differed from the ledger: sums as `(stored, right)`, and how many requests no list knew.

    `slots` is how many sums the ledger comes to.
    """

    sums: Mapping[Slot, tuple[Sums, Sums]]
    unlisted: int
    slots: int


async def compare_activity(ledger: Ledger, stored: Activity, *, repair: bool) -> ActivityDifferences:
    """Add up the whole ledger and compare, while nothing is being folded; `repair` has the stores say what it says.

    It is also what gives a ledger of an older version its activity. Raises `StoreUnavailable`, `UndecodableEvent`.
    """
    right: dict[Slot, Sums] = {}
    unlisted = 0
    async for requests in _portions(ledger):
        for slot, sums in activity(requests).items():
            right[slot] = right.get(slot, ZERO) + sums
        lacking = await stored.unlisted(requests)
        unlisted += len(lacking)
        if repair and lacking:
            await stored.enlist(lacking)
    differing = await _differing(stored, right)
    if repair and differing:
        await stored.put({slot: correct for slot, (_, correct) in differing.items()})
    return ActivityDifferences(sums=differing, unlisted=unlisted, slots=len(right))


async def _portions(ledger: Ledger) -> AsyncIterator[list[Completion]]:
    portion: list[Completion] = []
    async for event in ledger.replay():
        if is_completion(event):
            portion.append(event)
        if len(portion) == _AT_ONCE:
            yield portion
            portion = []
    if portion:
        yield portion


async def _differing(stored: Activity, right: Mapping[Slot, Sums]) -> dict[Slot, tuple[Sums, Sums]]:
    differing = {slot: (ZERO, sums) for slot, sums in right.items()}
    async for slot, sums in stored.stored():
        correct = right.get(slot, ZERO)
        if sums == correct:
            differing.pop(slot, None)
        else:
            differing[slot] = (sums, correct)
    return differing
