"""What one instance has of one rate limit, in memory: what the gate handed out to it, and what requests hold of it."""

from dataclasses import dataclass, field
from typing import Protocol

_AHEAD_PART = 16  # of what is left: as much as is taken before anybody asks for it
_FEW = 4  # requests: where no more would pass, one instance may take what is left of them all
_REQUESTS_LEFT = 16  # where only so many more would pass, what is unused is missing elsewhere
_PLACES_AHEAD_PART = 8  # of the places in use
_ALLOWANCES_AT_ONCE = 8
_SOON_S = 0.3  # less than a place is kept for
_MOST_TRUST = 4
_DISTRUST = -8


@dataclass(frozen=True, slots=True)
class Rest:
    """What goes back to the gate of an allowance, which is done with; under 0 where more was used than granted."""

    allowance_id: str
    amount: int


class Part(Protocol):
    """What one request holds of a share."""

    def settle(self, amount: int, now: float) -> None:
        """Say how much it really was; the difference is free."""
        ...


class Share(Protocol):
    """This instance's part of one limit. Times are seconds of its clock."""

    @property
    def is_empty(self) -> bool:
        """Say whether there is no allowance."""
        ...

    @property
    def unspent(self) -> int:
        """What no request holds or has used; under 0 where requests used more than they held."""
        ...

    @property
    def in_use(self) -> int:
        """How much of the limit requests of this instance hold or have used: no other instance can give that back."""
        ...

    def can_hold(self, amount: int, now: float) -> bool:
        """Say whether so much is free."""
        ...

    def put(self, allowance_id: str, granted: int, usable_until: float, now: float) -> None:
        """Take what was granted."""
        ...

    def hold(self, amount: int, now: float) -> Part:
        """Hold what is free."""
        ...

    def take_out(self, now: float, *, unused_since: float) -> list[Rest]:
        """Take out what lies unused since then, is over, or is overdrawn."""
        ...


@dataclass(slots=True)
class Trust:
    """Is a place that is free soon wanted here again? Then it is kept a while, else it goes back at once.

    What is kept makes other instances wait, and so, where one client asks them in turn, is wanted late: then it takes
    some requests that are wanted soon until anything is kept again.
    """

    left_at: float | None = None
    points: int = 0

    @property
    def keeps(self) -> bool:
        """Say whether to keep it."""
        return self.points > 0

    def left(self, now: float) -> None:
        """Take note that a place is free."""
        self.left_at = now

    def lose(self) -> None:
        """Take note that others have what is wanted here, and may want what is here."""
        self.points = _DISTRUST

    def wanted(self, now: float) -> None:
        """Take note that a place is wanted."""
        if self.left_at is not None:
            is_soon = now - self.left_at <= _SOON_S
            self.points = min(self.points + 1, _MOST_TRUST) if is_soon else _DISTRUST


@dataclass(slots=True)
class MinuteShare:
    """Requests or tokens of one minute. What was used stays used: it doesn't matter of which allowance."""

    granted: int = 0
    used: int = 0
    open: int = 0  # of what is used, what may yet be made exact
    used_before: int = 0  # of allowances that went back
    used_at: float = 0.0
    allowances: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def is_empty(self) -> bool:
        """Say whether there is no allowance."""
        return not self.allowances

    @property
    def unspent(self) -> int:
        """What is free, or overdrawn."""
        return self.granted - self.used

    @property
    def in_use(self) -> int:
        """What requests of this minute hold or have used."""
        return self.used_before + self.used

    def can_hold(self, amount: int, now: float) -> bool:
        """Say whether so much is free."""
        return self.granted - self.used >= amount

    def put(self, allowance_id: str, granted: int, usable_until: float, now: float) -> None:
        """Take what was granted."""
        self.allowances[allowance_id] = granted
        self.granted += granted
        self.used_at = now

    def hold(self, amount: int, now: float) -> "MinutePart":
        """Hold what is free."""
        self.used += amount
        self.open += amount
        self.used_at = now
        return MinutePart(self, amount)

    def take_out(self, now: float, *, unused_since: float) -> list[Rest]:
        """Take out what lies unused since then, or is overdrawn.

        What requests that are under way may yet leave needs an allowance with which it can go back.
        """
        rests: list[Rest] = []
        while self.allowances and self._is_to_go(self.used_at <= unused_since):
            rests.append(self._taken_out())
        return rests

    def forget(self) -> None:
        """Forget all allowances where the minute is over: nobody needs the rest any more."""
        self.allowances.clear()

    def _is_to_go(self, is_unused: bool) -> bool:
        last = next(reversed(self.allowances.values()))
        return self.unspent < 0 or (is_unused and self.unspent > 0 and self.granted - last >= self.open)

    def _taken_out(self) -> Rest:
        name, granted = self.allowances.popitem()
        rest = Rest(name, min(granted, self.unspent))
        self.granted -= granted
        self.used -= granted - rest.amount
        self.used_before += granted - rest.amount
        return rest


@dataclass(slots=True)
class MinutePart:
    """What one request holds of a minute."""

    share: MinuteShare
    held: int
    is_open: bool = True

    def settle(self, amount: int, now: float) -> None:
        """Make it exact."""
        if self.is_open:
            self.is_open = False
            self.share.open -= self.held
            self.share.used_at = now
        self.share.used += amount - self.held
        self.held = amount


@dataclass(slots=True, eq=False)
class Places:
    """An allowance of places for requests at once. No request takes one after `usable_until`."""

    allowance_id: str
    granted: int
    usable_until: float
    used_at: float
    taken: set["Place"] = field(default_factory=set["Place"])

    def is_usable(self, now: float) -> bool:
        """Say whether a request can have a place."""
        return len(self.taken) < self.granted and now < self.usable_until


@dataclass(slots=True)
class ParallelShare:
    """Places for requests at once. A place comes back when its request is over, whatever it used.

    An allowance can only go back as a whole. So that none is kept for one request out of many, requests move from one
    that is over to one that isn't.
    """

    granted: int = 0
    taken: int = 0
    allowances: list[Places] = field(default_factory=list[Places])

    @property
    def is_empty(self) -> bool:
        """Say whether there is no allowance."""
        return not self.allowances

    @property
    def unspent(self) -> int:
        """How many places nobody has."""
        return self.granted - self.taken

    @property
    def in_use(self) -> int:
        """How many places requests have."""
        return self.taken

    def can_hold(self, amount: int, now: float) -> bool:
        """Say whether there is a place."""
        return self.granted > self.taken and self._usable(now) is not None

    def put(self, allowance_id: str, granted: int, usable_until: float, now: float) -> None:
        """Take what was granted."""
        self.allowances.append(Places(allowance_id, granted, usable_until, now))
        self.granted += granted

    def hold(self, amount: int, now: float) -> "Place":
        """Take a place that is free."""
        places = self._usable(now)
        if places is None:
            raise RuntimeError("there is no place; ask first")
        places.used_at = now
        self.taken += 1
        return Place(self, places)

    def leave(self, place: "Place", now: float) -> None:
        """Take a place back."""
        if place in place.places.taken:
            place.places.taken.remove(place)
            place.places.used_at = now
            self.taken -= 1

    def take_out(self, now: float, *, unused_since: float) -> list[Rest]:
        """Take out what lies unused since then, or is over."""
        for places in self.allowances:
            if now >= places.usable_until:
                self._vacate(places, now)
        out = [
            places
            for places in self.allowances
            if not places.taken and (now >= places.usable_until or places.used_at <= unused_since)
        ]
        if out:
            self.allowances = [places for places in self.allowances if places not in out]
            self.granted -= sum(places.granted for places in out)
        return [Rest(places.allowance_id, places.granted) for places in out]

    def _usable(self, now: float) -> Places | None:
        return next((places for places in self.allowances if places.is_usable(now)), None)

    def _vacate(self, places: Places, now: float) -> None:
        """Move the requests of an allowance to others, as far as there is room: those hold for longer."""
        for place in list(places.taken):
            other = self._usable(now)
            if other is None:
                return
            place.move(other)


class Place:
    """The place of one request."""

    __slots__ = ("_share", "places")

    def __init__(self, share: ParallelShare, places: Places) -> None:
        self._share = share
        self.places = places
        places.taken.add(self)

    def move(self, other: Places) -> None:
        """Have it in another allowance."""
        self.places.taken.remove(self)
        self.places = other
        other.taken.add(self)

    def settle(self, amount: int, now: float) -> None:
        """Leave it, where nothing is needed any more."""
        if not amount:
            self._share.leave(self, now)


def minute_size(waiting: int, each: int, ahead: int, soon: int, left: int) -> int:
    """Say how much of a minute to ask for: what those who wait need, and what will be needed next.

    Of what may be needed (`ahead`) a sixteenth of what is left; of what is used up within seconds at the present pace
    (`soon`) two thirds, or the last few requests: so that a small limit takes few round trips, too.
    """
    rest = max(0, left - waiting)
    return waiting + max(min(ahead, rest // _AHEAD_PART), min(soon, max(rest * 2 // 3, min(rest, _FEW * each))))


def places_sizes(waiting: int, taken: int, left: int) -> list[int]:
    """Say how many places to ask for, by allowance: where few are left of one each, as it goes back as a whole."""
    size = min(waiting + taken // _PLACES_AHEAD_PART, left // _AHEAD_PART)
    return [size] if size > 1 else [1] * min(waiting, max(1, left), _ALLOWANCES_AT_ONCE)


def is_scarce(left: int, limit: int, each: int) -> bool:
    """Say whether so little is left that others may need what lies unused here. `each` is what a request needs."""
    return left < max(limit // _AHEAD_PART, _REQUESTS_LEFT * each)
