"""What one instance has of one window's budget, in memory: allowances, and the holds that requests have on them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from events.money import NOTHING, NanoUsd

_SPECULATIVE_PART = 64  # of what is left: as much as a crash may make unusable for a while, beyond what is held
_WAITING_PART = 16  # of what is left: leaves others something where all wait, and little is stranded with who dies
_REQUESTS_AHEAD = 32  # at two round trips an allowance, one for each sixteen requests
_SECONDS_AHEAD = 1.0
_PACE_S = 5.0


@dataclass(slots=True, eq=False, kw_only=True)
class Open:
    """An allowance in the hands of this instance. Times are seconds of its clock.

    No hold begins after `usable_until`. `held` is set aside for requests under way, `spent` is what those that are over
    have cost.
    """

    allowance_id: str
    granted: NanoUsd
    usable_until: float
    used_at: float
    held: NanoUsd = NOTHING
    holds: int = 0
    spent: NanoUsd = NOTHING

    @property
    def free(self) -> NanoUsd:
        """What further requests can have set aside; under 0 where one has cost more than its worst case."""
        return NanoUsd(self.granted - self.spent - self.held)

    @property
    def rest(self) -> NanoUsd:
        """What goes back when nothing is held any more."""
        return NanoUsd(self.granted - self.spent)

    def hold(self, cost: NanoUsd, now: float) -> None:
        """Set an amount aside."""
        self.held = NanoUsd(self.held + cost)
        self.holds += 1
        self.used_at = now

    def settle(self, held: NanoUsd, cost: NanoUsd, now: float) -> None:
        """Make exact what was set aside; the difference is free."""
        self.held = NanoUsd(self.held - held)
        self.holds -= 1
        self.spent = NanoUsd(self.spent + cost)
        self.used_at = now


@dataclass(slots=True)
class Purse:
    """The open allowances of one window."""

    allowances: list[Open] = field(default_factory=list[Open])

    def hold(self, cost: NanoUsd, now: float) -> Open | None:
        """Set an amount aside in one of the allowances, the oldest that can; nothing where none can."""
        for allowance in self.allowances:
            if allowance.free >= cost and now < allowance.usable_until:
                allowance.hold(cost, now)
                return allowance
        return None

    def most(self, now: float) -> NanoUsd:
        """Say how much one request can have set aside."""
        return max((one.free for one in self.allowances if now < one.usable_until), default=NOTHING)

    @property
    def free(self) -> NanoUsd:
        """What of all the allowances is set aside for nobody."""
        return NanoUsd(sum(allowance.free for allowance in self.allowances))

    def take_out(self, now: float, *, unused_since: float, too_small_for: NanoUsd = NOTHING) -> list[Open]:
        """Take those out that nothing is held of and that are over, unused for so long, or too small."""
        out = [
            one
            for one in self.allowances
            if not one.holds and (now >= one.usable_until or one.used_at <= unused_since or one.free < too_small_for)
        ]
        self.allowances = [one for one in self.allowances if one not in out]
        return out

    def retire(self, now: float, *, over: NanoUsd, unused_since: float) -> None:
        """Have no more holds begin on those that have more free than that, and were not used since then."""
        for one in self.allowances:
            if one.free > over and one.used_at <= unused_since:
                one.usable_until = min(one.usable_until, now)

    def retire_all(self, now: float) -> None:
        """Have no more holds begin on any."""
        for one in self.allowances:
            one.usable_until = min(one.usable_until, now)

    def __iter__(self) -> Iterator[Open]:
        return iter(self.allowances)


@dataclass(slots=True)
class Pace:
    """How much this instance spends of late: sums that fade, by a factor of e in `_PACE_S`."""

    cost: float = 0.0
    requests: float = 0.0
    at: float = 0.0

    def spent(self, cost: NanoUsd, now: float) -> None:
        """Take a request's cost."""
        fade = math.exp((self.at - now) / _PACE_S)
        self.cost = self.cost * fade + cost
        self.requests = self.requests * fade + 1
        self.at = now

    def per_s(self, now: float) -> float:
        """Say how much a second is spent."""
        return self.cost * math.exp((self.at - now) / _PACE_S) / _PACE_S

    def ahead(self, now: float) -> NanoUsd:
        """Say what is about to be spent: a second of it, or what some more requests like the last ones cost."""
        if not self.requests:
            return NOTHING
        a_second = self.per_s(now) * _SECONDS_AHEAD
        return NanoUsd(round(max(a_second, self.cost / self.requests * _REQUESTS_AHEAD)))


def allowance_size(first: NanoUsd, waiting: NanoUsd, ahead: NanoUsd, left: NanoUsd) -> NanoUsd:
    """Say how much to ask for: what the `first` in line needs, what all who wait do, and what is likely to be next.

    As less is left, less is asked for: those who wait share it with those of other instances, and what is taken on
    speculation is a small part of it, so that little is stranded where the instance dies.
    """
    needed = max(first, min(waiting, left // _WAITING_PART))
    return NanoUsd(needed + min(ahead, max(0, left) // _SPECULATIVE_PART))
