"""Allowances: parts of a budget's window, handed out to instances, and what becomes of them."""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from events.money import NanoUsd
from events.window import Window

KEPT = timedelta(days=7)  # for so long after all that can happen to an allowance it is remembered
QUIET = timedelta(minutes=2)  # for so long no spend of an allowance is folded before its rest is given back
_UNCAPPED = "-"
_PLACES = "parallel:"  # begins the counters of requests at once
_NAME = re.compile(r"[^/|]{1,1000}\|[^/|]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """`granted` nano-USD of one counter's budget, in the hands of one instance.

    No request that spends from it is under way after `settled_by`. `returned` is the rest, once it was given back: by
    the instance, which is done with it, or where that doesn't happen as `reconciled` says; `None` before. `watched` is
    what was known to be spent, unchanged since `watched_since`, when reconciliation looked. From `expires_at` on it may
    be forgotten, if its rest was given back, or if it lapses.
    """

    allowance_id: str
    granted: NanoUsd
    settled_by: datetime  # aware, UTC
    returned: NanoUsd | None = None
    watched: NanoUsd | None = None
    watched_since: datetime | None = None
    expires_at: datetime | None = None  # `None`: never

    @property
    def counter(self) -> str:
        """The counter whose budget it is a part of."""
        return counter_of(self.allowance_id)

    @property
    def lapses(self) -> bool:
        """Say whether it expires with its window, so that nobody is owed its rest: it is never reconciled."""
        return self.expires_at is not None and self.expires_at <= self.settled_by

    @property
    def admitted(self) -> NanoUsd:
        """How much of the budget it takes up."""
        return NanoUsd(self.granted - (self.returned or 0))


def allowance_id(counter: str, unique: str) -> str:
    """Name an allowance, such as `global:2026-11-24|5f3c…`: the name says what it is a part of."""
    return f"{counter}|{unique}"


def uncapped(counter: str) -> str:
    """Name what stands for an allowance where there is no limit: a spend counts there, and nothing is handed out."""
    return f"{counter}|{_UNCAPPED}"


def counter_of(allowance_id: str) -> str:
    """Give the counter that an allowance, or what stands for one, is a part of."""
    return allowance_id.rpartition("|")[0]


def is_allowance(name: str) -> bool:
    """Say whether this names an allowance: what counts its spend has its name, as a window's counter has another."""
    return _NAME.fullmatch(name) is not None and not name.endswith(f"|{_UNCAPPED}")


def counters_of(name: str) -> tuple[str, ...]:
    """Give what a spend that has this name among its `allowance_ids` is counted in; nothing where it is none."""
    if _NAME.fullmatch(name) is None:
        return ()
    return (name, counter_of(name)) if is_allowance(name) else (counter_of(name),)


def expiry_of(settled_by: datetime, window: Window) -> datetime:
    """Say from when on no event can matter to an allowance of the window, nor to what counts its spend.

    What was spent of a window that is not over stays in `admitted`, whether its allowances are remembered or not.
    """
    return (settled_by if window.is_endless else max(settled_by, window.ends_at)) + KEPT


def granted_of(asked: NanoUsd, *, total: int, limit: NanoUsd) -> NanoUsd:
    """Say how much of an amount is granted, where `total` is what has been handed out with all of it."""
    return NanoUsd(min(asked, max(0, asked - (total - limit))))


def reconciled(allowance: Allowance, spent: NanoUsd, now: datetime) -> Allowance:
    """Give the allowance as a look at it leaves it; as it is, where there is nothing to do.

    What nobody can spend any more goes back: `granted − spent`, once every request is over and no spend event has come
    for a while, counted from the first look, as a tick may overtake the events of a long outage. A spend that comes
    later still is taken out again. It doesn't matter how the instance ended, or how often this is asked. Places for
    requests at once are not spent: they go back as soon as every request is over.
    """
    rest = NanoUsd(allowance.granted - spent)
    if allowance.returned is not None:
        return replace(allowance, returned=min(rest, allowance.returned))
    if now < allowance.settled_by or allowance.lapses:
        return allowance
    if allowance.allowance_id.startswith(_PLACES):
        return replace(allowance, returned=allowance.granted)
    if allowance.watched_since is None or allowance.watched != spent:
        return replace(allowance, watched=spent, watched_since=now)
    if now - allowance.watched_since < QUIET:
        return allowance
    return replace(allowance, returned=rest)


def may_be_reconciled(time: datetime, now: datetime) -> bool:
    """Say whether the allowances of a spend of that time may have been reconciled without it."""
    return now - time >= QUIET
