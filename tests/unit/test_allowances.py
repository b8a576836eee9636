"""Allowances: whatever happens in whatever order, no more is spent than handed out, nor handed out than there is."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from events.allowance import QUIET, Allowance, counter_of, expiry_of, granted_of, may_be_reconciled, reconciled
from events.money import NanoUsd
from events.window import window_at
from functions.gateway.purses import Open, Pace, Purse, allowance_size
from tests.builders import NOON, TODAY, allowance

LIMIT = NanoUsd(3000)
LIFETIME = timedelta(seconds=300)
LONGEST_REQUEST = timedelta(seconds=50)
LATEST_EVENT = timedelta(seconds=100)  # less than `QUIET`, or a tick may come before it


@dataclass
class Store:
    """A gate and the counters, as the adapters keep them, one step at a time."""

    admitted: int = 0
    spent: int = 0
    allowances: dict[str, Allowance] = field(default_factory=dict)
    over: dict[str, int] = field(default_factory=dict)  # of `admitted`: added, but over the limit and nobody's to spend
    spent_of: dict[str, int] = field(default_factory=dict)
    events: set[int] = field(default_factory=set)

    def add(self, asked: Allowance) -> int:
        """First step of taking: all of it is added. Gives what may stay of it."""
        if (known := self.allowances.get(asked.allowance_id)) is not None:
            return granted_of(known.granted, total=self.admitted, limit=LIMIT)
        self.allowances[asked.allowance_id] = asked
        self.admitted += asked.granted
        granted = granted_of(asked.granted, total=self.admitted, limit=LIMIT)
        self.over[asked.allowance_id] = asked.granted - granted
        return granted

    def cut(self, name: str, granted: int) -> None:
        """Second step: what is over the limit is taken off."""
        known = self.allowances[name]
        self.allowances[name] = replace(known, granted=NanoUsd(granted))
        self.admitted -= known.granted - granted
        del self.over[name]

    def give_back(self, name: str, rest: int) -> None:
        known = self.allowances.get(name)
        if known is not None and known.returned is None:
            self.allowances[name] = replace(known, returned=NanoUsd(rest))
            self.admitted -= rest

    def fold(self, number: int, name: str, cost: int) -> None:
        if number not in self.events:
            self.events.add(number)
            self.spent += cost
            self.spent_of[name] = self.spent_of.get(name, 0) + cost

    def look(self, name: str, now: datetime) -> None:
        known = self.allowances[name]
        after = reconciled(known, NanoUsd(self.spent_of.get(name, 0)), now)
        self.admitted += after.admitted - known.admitted
        if after.returned is not None:
            self.over.pop(name, None)
        self.allowances[name] = after


@dataclass(eq=False)
class Request:
    open: Open
    held: int
    ends_by: datetime


@dataclass(eq=False)
class Instance:
    purse: Purse = field(default_factory=Purse)
    requests: list[Request] = field(default_factory=list)


@dataclass(eq=False)
class Event:
    number: int
    allowance_id: str
    cost: int
    comes_by: datetime


CHOICES: dict[str, dict[str, Sequence[object]]] = {
    "take": {
        "slot": [0, 1],
        "amount": [100, 300, 2000],
        "lost_replies": [0, 0, 0, 1, 2],
        "dies": ["no"] * 8 + ["before the cut", "after"],
    },
    "begin": {"slot": [0, 1], "worst": [1, 60, 100]},
    "finish": {"slot": [0, 1], "which": range(9), "percent": [0, 0, 30, 100], "dies": [False] * 7 + [True]},
    "give_back": {"slot": [0, 1], "idle_s": [0, 30], "lost_replies": [0, 1]},
    "kill": {"slot": [0, 1]},
    "deliver": {"which": range(9)},
    "deliver_again": {"which": range(9)},
    "wait": {"seconds": [1, 40, 60, 95, 130]},
    "tick": {},
}
STEPS = [name for name in CHOICES for _ in range({"begin": 6, "finish": 5, "wait": 3, "tick": 4}.get(name, 1))]


class Fleet(RuleBasedStateMachine):
    """Two instances share a budget; each may be killed between any two steps, and another one takes its place."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.now = NOON
        self.names = 0
        self.instances = [Instance(), Instance()]
        self.on_the_bus: list[Event] = []
        self.arrived: list[Event] = []

    @rule(seed=st.integers(0, 2**32))
    def happens(self, seed: int) -> None:
        """Some steps, drawn here: hypothesis would leave some kinds of them out of each run."""
        draw = random.Random(seed)
        for _ in range(8):
            name = draw.choice(STEPS)
            getattr(self, name)(**{field: draw.choice(values) for field, values in CHOICES[name].items()})
            self.spent_is_at_most_admitted_is_at_most_the_budget()
            self.what_is_still_to_come_is_covered()

    def clock(self) -> float:
        return (self.now - NOON).total_seconds()

    def take(self, slot: int, amount: int, lost_replies: int, dies: str) -> None:
        self.names += 1
        asked = allowance(str(self.names), amount, settled_by=self.now + LIFETIME + LONGEST_REQUEST)
        granted = [self.store.add(asked) for _ in range(1 + lost_replies)][-1]
        if dies == "before the cut":
            self.kill(slot)
            return
        self.store.cut(asked.allowance_id, granted)
        until = self.clock() + LIFETIME.total_seconds()
        new = Open(allowance_id=asked.allowance_id, granted=NanoUsd(granted), usable_until=until, used_at=self.clock())
        self.instances[slot].purse.allowances.append(new)
        if dies == "after":
            self.kill(slot)

    def begin(self, slot: int, worst: int) -> None:
        instance = self.instances[slot]
        if (opened := instance.purse.hold(NanoUsd(worst), self.clock())) is None:
            self.take(slot, amount=100, lost_replies=0, dies="no")
            opened = instance.purse.hold(NanoUsd(worst), self.clock())
        if opened is not None:
            instance.requests.append(Request(opened, worst, self.now + LONGEST_REQUEST))

    def finish(self, slot: int, which: int, percent: int, dies: bool) -> None:
        """Its event is on the bus before it is settled; the instance may die in between."""
        instance = self.instances[slot]
        if not instance.requests:
            return
        request = instance.requests.pop(which % len(instance.requests))
        cost = request.held * percent // 100
        self.names += 1
        self.on_the_bus.append(Event(self.names, request.open.allowance_id, cost, self.now + LATEST_EVENT))
        if dies:
            self.kill(slot)
        else:
            request.open.settle(NanoUsd(request.held), NanoUsd(cost), self.clock())

    def kill(self, slot: int) -> None:
        self.instances[slot] = Instance()

    def give_back(self, slot: int, idle_s: int, lost_replies: int) -> None:
        for done in self.instances[slot].purse.take_out(self.clock(), unused_since=self.clock() - idle_s):
            for _ in range(1 + lost_replies):
                self.store.give_back(done.allowance_id, done.rest)

    def deliver(self, which: int) -> None:
        """In any order."""
        if self.on_the_bus:
            self._deliver(self.on_the_bus[which % len(self.on_the_bus)])

    def deliver_again(self, which: int) -> None:
        if self.arrived:
            event = self.arrived[which % len(self.arrived)]
            self.store.fold(event.number, event.allowance_id, event.cost)

    def wait(self, seconds: int) -> None:
        """Time passes; what must have happened by then has."""
        self.now += timedelta(seconds=seconds)
        for instance in self.instances:
            for request in [request for request in instance.requests if request.ends_by < self.now]:
                instance.requests.remove(request)
                request.open.settle(NanoUsd(request.held), NanoUsd(0), self.clock())
        for event in [event for event in self.on_the_bus if event.comes_by < self.now]:
            self._deliver(event)

    def tick(self) -> None:
        for name in list(self.store.allowances):
            self.store.look(name, self.now)

    def _deliver(self, event: Event) -> None:
        self.store.fold(event.number, event.allowance_id, event.cost)
        self.on_the_bus.remove(event)
        self.arrived.append(event)

    def spent_is_at_most_admitted_is_at_most_the_budget(self) -> None:
        assert self.store.spent <= self.store.admitted - sum(self.store.over.values()) <= LIMIT

    def what_is_still_to_come_is_covered(self) -> None:
        """Each allowance has enough for its events on the bus and its requests under way."""
        for name, one in self.store.allowances.items():
            to_come = sum(event.cost for event in self.on_the_bus if event.allowance_id == name)
            under_way = [request for instance in self.instances for request in instance.requests]
            held = sum(request.held for request in under_way if request.open.allowance_id == name)
            assert self.store.spent_of.get(name, 0) + to_come + held <= one.admitted

    def teardown(self) -> None:
        """All goes quiet: nobody lives, every event comes, and ticks go on."""
        self.instances = []
        for event in list(self.on_the_bus):
            self._deliver(event)
        for _ in range(2):
            self.now += LIFETIME + LONGEST_REQUEST + QUIET
            self.tick()
        assert self.store.admitted == self.store.spent


TestFleet = Fleet.TestCase
TestFleet.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


LATE = allowance("a", 100, settled_by=NOON)


def look(allowance: Allowance, *, spent: int, minutes: float) -> Allowance:
    return reconciled(allowance, NanoUsd(spent), NOON + timedelta(minutes=minutes))


def test_an_allowance_in_use_is_left_alone() -> None:
    assert look(LATE, spent=30, minutes=-1) == LATE


def test_the_rest_goes_back_once_it_was_quiet_for_long_enough() -> None:
    watched = look(LATE, spent=30, minutes=0)

    assert watched.returned is None
    assert look(watched, spent=30, minutes=1.9) == watched
    assert look(watched, spent=30, minutes=2).returned == 70


def test_places_go_back_as_soon_as_every_request_is_over() -> None:
    places = allowance("a", 8, counter="parallel:key:5f:all", settled_by=NOON)

    assert look(places, spent=0, minutes=-0.1) == places
    assert look(places, spent=0, minutes=0).returned == 8


def test_what_lapses_with_its_window_is_not_reconciled() -> None:
    lapsing = replace(LATE, expires_at=NOON)

    assert lapsing.lapses
    assert look(lapsing, spent=30, minutes=9) == lapsing


def test_what_is_remembered_beyond_its_requests_does_not_lapse() -> None:
    assert not replace(LATE, expires_at=NOON + timedelta(microseconds=1)).lapses
    assert not LATE.lapses


def test_a_spend_that_comes_meanwhile_has_the_quiet_begin_again() -> None:
    watched = look(look(LATE, spent=30, minutes=0), spent=40, minutes=1)

    assert look(watched, spent=40, minutes=2).returned is None
    assert look(watched, spent=40, minutes=3).returned == 60


def test_a_spend_that_comes_after_all_makes_less_of_what_was_returned() -> None:
    returned = replace(LATE, returned=NanoUsd(70))

    assert look(returned, spent=45, minutes=9).returned == 55
    assert look(returned, spent=30, minutes=9) == returned


def test_only_spends_that_are_late_may_come_after_all() -> None:
    assert not may_be_reconciled(NOON, NOON + QUIET - timedelta(seconds=1))
    assert may_be_reconciled(NOON, NOON + QUIET)


def test_an_allowance_is_named_after_its_counter() -> None:
    assert counter_of(allowance("a").allowance_id) == TODAY


@given(st.integers(0, 100), st.integers(0, 300), st.integers(0, 200))
def test_no_more_is_granted_than_is_left_or_asked(before: int, asked: int, limit: int) -> None:
    granted = granted_of(NanoUsd(asked), total=before + asked, limit=NanoUsd(limit))

    assert granted == min(asked, max(0, limit - before))


_AMOUNTS = st.integers(0, 10**12).map(NanoUsd)


@given(_AMOUNTS, _AMOUNTS, _AMOUNTS, _AMOUNTS)
def test_an_allowance_covers_the_first_in_line(first: NanoUsd, waiting: NanoUsd, ahead: NanoUsd, left: NanoUsd) -> None:
    assert allowance_size(first, waiting, ahead, left) >= first


@given(_AMOUNTS, _AMOUNTS)
def test_on_speculation_a_small_part_of_what_is_left_is_taken(ahead: NanoUsd, left: NanoUsd) -> None:
    assert allowance_size(NanoUsd(1), NanoUsd(1), ahead, left) - 1 <= min(ahead, left // 64)


def test_an_instance_that_spends_more_looks_further_ahead() -> None:
    slow, fast = Pace(), Pace()
    for second in range(20):
        slow.spent(NanoUsd(10), second)
        for part in range(100):
            fast.spent(NanoUsd(10), second + part / 100)

    assert slow.ahead(20) == pytest.approx(320, rel=0.01)  # 32 requests
    assert fast.ahead(20) == pytest.approx(1000, rel=0.1)  # a second


def test_a_purse_that_nobody_uses_goes_back_whole() -> None:
    purse = Purse([Open(allowance_id="a", granted=NanoUsd(10), usable_until=60, used_at=0)])

    assert [one.rest for one in purse.take_out(30, unused_since=0)] == [10]
    assert not purse.allowances


def test_a_purse_gives_nothing_back_of_which_something_is_held() -> None:
    purse = Purse([Open(allowance_id="a", granted=NanoUsd(10), usable_until=60, used_at=0)])
    purse.hold(NanoUsd(4), 1)

    assert purse.take_out(100, unused_since=100, too_small_for=NanoUsd(100)) == []


def test_nothing_is_held_of_an_allowance_whose_time_is_over() -> None:
    purse = Purse([Open(allowance_id="a", granted=NanoUsd(10), usable_until=60, used_at=0)])

    assert purse.hold(NanoUsd(4), 60) is None


def test_what_is_far_more_than_is_needed_has_no_more_holds_begin_on_it() -> None:
    large = Open(allowance_id="a", granted=NanoUsd(100), usable_until=60, used_at=0)
    small = Open(allowance_id="b", granted=NanoUsd(10), usable_until=60, used_at=0)
    used = Open(allowance_id="c", granted=NanoUsd(100), usable_until=60, used_at=9)

    Purse([large, small, used]).retire(10, over=NanoUsd(10), unused_since=8)

    assert [one.usable_until for one in (large, small, used)] == [10, 60, 60]


def test_an_allowance_expires_a_week_after_all_that_can_happen_to_it() -> None:
    day, endless = window_at("1d", NOON), window_at(None, NOON)
    late = NOON + timedelta(days=2)

    assert expiry_of(NOON, day) == day.ends_at + timedelta(days=7)
    assert expiry_of(late, day) == late + timedelta(days=7)
    assert expiry_of(NOON, endless) == NOON + timedelta(days=7)
