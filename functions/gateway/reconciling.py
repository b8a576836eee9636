"""Reconciliation: what instances left behind goes back to where it came from, and what comes later is taken out."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from events.allowance import Allowance, is_allowance, may_be_reconciled, reconciled
from events.budget import is_counted
from events.codec import Event
from functions.gateway.ports import Counters, Gate

_LOOKS_AT_ONCE = 20
_SWEPT_AT_ONCE = 200
_SWEEPS = 10  # at a tick


async def reconcile_unsettled(gate: Gate, counters: Counters, now: datetime) -> None:
    """Look at the allowances that nobody gave back, those that are late for longest.

    Level-triggered: what is too much now, or is left by a crash in between, is the next tick's.
    """
    await _reconcile(await gate.unsettled(now), gate, counters, now)


async def reconcile_late(events: Sequence[Event], gate: Gate, counters: Counters, now: datetime) -> None:
    """Look at the allowances of events that come so late that they may have been reconciled without them."""
    if names := {name for of_event in late_allowances(events, now).values() for name in of_event}:
        await _reconcile(await gate.known(sorted(names)), gate, counters, now)


def late_allowances(events: Sequence[Event], now: datetime) -> Mapping[str, Sequence[str]]:
    """Give the allowances of each event, by its id, that comes late."""
    late = [event for event in events if is_counted(event) and may_be_reconciled(event.time, now)]
    named = {event.event_id: [name for name in event.allowance_ids if is_allowance(name)] for event in late}
    return {event_id: names for event_id, names in named.items() if names}


async def sweep_expired(gate: Gate, now: datetime) -> None:
    """Have the gate forget what can't matter any more, some at a time: what is too much now is the next tick's."""
    for _ in range(_SWEEPS):
        if await gate.sweep(now, limit=_SWEPT_AT_ONCE) < _SWEPT_AT_ONCE:
            return


async def _reconcile(allowances: Sequence[Allowance], gate: Gate, counters: Counters, now: datetime) -> None:
    """Look at each, some at once; one that can't be looked at doesn't keep the others of its time from it."""
    for start in range(0, len(allowances), _LOOKS_AT_ONCE):
        looks = (_look(allowance, gate, counters, now) for allowance in allowances[start : start + _LOOKS_AT_ONCE])
        outcomes = await asyncio.gather(*looks, return_exceptions=True)
        for error in outcomes:
            if error is not None:
                raise error


async def _look(allowance: Allowance, gate: Gate, counters: Counters, now: datetime) -> None:
    spent = (await counters.read(allowance.allowance_id)).spent
    after = reconciled(allowance, spent, now)
    if after != allowance:
        await gate.amend(allowance, after)  # where it has changed meanwhile, whoever changed it has looked
