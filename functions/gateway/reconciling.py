"""Reconciliation: what instances left behind goes back to where it came from, and what comes later is taken out."""

from collections.abc import Sequence
from datetime import datetime

from events.allowance import Allowance, is_allowance, may_be_reconciled, reconciled
from events.budget import is_counted
from events.codec import Event
from functions.gateway.ports import Counters, Gate

_SWEPT_AT_ONCE = 200
_SWEEPS = 10  # at a tick


async def reconcile_unsettled(gate: Gate, counters: Counters, now: datetime) -> None:
    """Look at the allowances that nobody gave back. Level-triggered: a crash in between leaves it to the next tick."""
    await _reconcile(await gate.unsettled(now), gate, counters, now)


async def reconcile_late(events: Sequence[Event], gate: Gate, counters: Counters, now: datetime) -> None:
    """Look at the allowances of events that come so late that they may have been reconciled without them."""
    late = [event for event in events if is_counted(event) and may_be_reconciled(event.time, now)]
    if names := {name for event in late for name in event.allowance_ids if is_allowance(name)}:
        await _reconcile(await gate.known(sorted(names)), gate, counters, now)


async def sweep_expired(gate: Gate, now: datetime) -> None:
    """Have the gate forget what can't matter any more, some at a time: what is too much now is the next tick's."""
    for _ in range(_SWEEPS):
        if await gate.sweep(now, limit=_SWEPT_AT_ONCE) < _SWEPT_AT_ONCE:
            return


async def _reconcile(allowances: Sequence[Allowance], gate: Gate, counters: Counters, now: datetime) -> None:
    for allowance in allowances:
        spent = (await counters.read(allowance.allowance_id)).spent
        after = reconciled(allowance, spent, now)
        if after != allowance:
            await gate.amend(allowance, after)  # where it has changed meanwhile, whoever changed it has looked
