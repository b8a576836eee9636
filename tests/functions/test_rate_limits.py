"""Rate limits, with a real store: several instances let requests pass under the same limits."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI, RateLimitError

from events.allowance import Allowance
from events.money import NanoUsd
from events.window import window_at
from functions.adapters.embedded.stores import open_embedded
from functions.adapters.stores import Stores
from functions.bootstrap import load_catalog
from functions.gateway.admission import WholeAdmission
from functions.gateway.allowances import AllowanceAdmission, Terms
from functions.gateway.config import Credentials, parse_config
from functions.gateway.errors import AllModelsFailed, BudgetExceeded, RateLimited, StoreUnavailable
from functions.gateway.health import Fleet as Deployments
from functions.gateway.key_administration import KeyAdministration
from functions.gateway.keys import Keyring
from functions.gateway.pipeline import Completions
from functions.gateway.ports import Gate, Grant, Limits, Rate, RateKind, Request
from functions.gateway.rates import RateAdmission
from functions.gateway.reconciling import reconcile_unsettled
from functions.gateway.spending import Spending
from functions.providers.openai import openai_upstream
from functions.surface.edge import at_edge
from functions.surface.keys import KeySurface, key_routes
from functions.surface.router import Surface, build_router
from infra.local.sandbox.__main__ import Sandbox, build_app
from tests.builders import NOON, budget, chat_request, deployment, embedding_request
from tests.functions.stand_ins import HeldBus

ASKED = chat_request(max_tokens=90)  # about 93 tokens
HELD = 93
MINUTE = "2026-11-24T12:00:00Z"


@dataclass
class WatchedGate:
    """A real gate that counts its calls, may be down, may lose its answers, and may be slow to take back."""

    gate: Gate
    calls: int = 0
    is_down: bool = False
    is_broken: bool = False
    loses: int = 0
    returns: asyncio.Event = field(default_factory=asyncio.Event)
    may_return: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_return.set()

    async def take(self, asked: Allowance, *, limit: NanoUsd, gate_expires_at: datetime | None = None) -> Grant:
        self._check()
        grant = await self.gate.take(asked, limit=limit, gate_expires_at=gate_expires_at)
        if self.loses:
            self.loses -= 1
            raise StoreUnavailable("the answer was lost")
        return grant

    async def give_back(self, allowance_id: str, rest: NanoUsd) -> None:
        self._check()
        if self.is_broken:
            raise ValueError("the store has gone mad")
        self.returns.set()
        await self.may_return.wait()
        await self.gate.give_back(allowance_id, rest)

    async def admitted(self, counter: str) -> NanoUsd:
        raise AssertionError("nobody needs to know")

    async def sweep(self, now: datetime, *, limit: int) -> int:
        return await self.gate.sweep(now, limit=limit)

    async def unsettled(self, now: datetime, *, limit: int = 500) -> Sequence[Allowance]:
        raise AssertionError("nobody needs to know")

    async def known(self, allowance_ids: Sequence[str]) -> Sequence[Allowance]:
        raise AssertionError("nobody needs to know")

    async def amend(self, before: Allowance, after: Allowance) -> bool:
        raise AssertionError("nobody amends")

    def _check(self) -> None:
        self.calls += 1
        if self.is_down:
            raise StoreUnavailable("the store is down")


def rate(kind: RateKind, limit: int, scope: str = "key:5f") -> Rate:
    return Rate(scope=scope, kind=kind, limit=limit)


def rpm(limit: int) -> Rate:
    return rate("requests", limit)


def tpm(limit: int) -> Rate:
    return rate("tokens", limit)


def parallel(limit: int) -> Rate:
    return rate("parallel", limit)


@dataclass
class Fleet:
    """One store, and instances on it. `passed_s` is the time of all of them, which passes where a request waits."""

    stores: Stores
    gate: WatchedGate
    passed_s: float = 0.0
    ids: "count[int]" = field(default_factory=count)
    instances: list[RateAdmission] = field(default_factory=list[RateAdmission])

    async def sleep(self, seconds: float) -> None:
        until = self.passed_s + seconds
        await asyncio.sleep(0.0005)
        if self.passed_s < until:
            self.passed_s = until
            for one in self.instances:
                one.tend_once()

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed_s)

    @asynccontextmanager
    async def instance(self) -> AsyncGenerator[RateAdmission]:
        async with self.mortal() as one:
            yield one
            await one.close()

    @asynccontextmanager
    async def mortal(self) -> AsyncGenerator[RateAdmission]:
        """An instance that gives nothing back at its end."""
        async with asyncio.TaskGroup() as tasks:
            with self.tended(self.admission(tasks)) as one:
                yield one

    @contextmanager
    def tended(self, one: RateAdmission) -> Generator[RateAdmission]:
        self.instances.append(one)
        yield one
        self.instances.remove(one)

    def admission(self, tasks: asyncio.TaskGroup) -> RateAdmission:
        return RateAdmission(
            self.gate,
            tasks,
            now=self.now,
            clock=lambda: self.passed_s,
            new_id=lambda: str(next(self.ids)),
            sleep=self.sleep,
        )

    async def request(self, one: RateAdmission, *rates: Rate, tokens: int = 5, asked: Request = ASKED) -> None:
        """One request that has so many tokens."""
        async with one.hold(asked, rates) as hold:
            await asyncio.sleep(0)
            hold.settle(NanoUsd(1), tokens)

    async def passes(self, one: RateAdmission, *rates: Rate, tokens: int = 5) -> bool:
        try:
            await self.request(one, *rates, tokens=tokens)
        except RateLimited:
            return False
        return True

    async def tick(self) -> None:
        await reconcile_unsettled(self.stores.gate, self.stores.counters, self.now())

    async def admitted(self, kind: RateKind, window: str = MINUTE) -> int:
        return await self.stores.gate.admitted(f"{kind}:key:5f:{window}")


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncGenerator[Fleet]:
    async with open_embedded(tmp_path) as stores:
        yield Fleet(stores, WatchedGate(stores.gate))


# --- requests a minute -----------------------------------------------------------------------------


async def test_no_more_requests_pass_in_a_minute_than_the_limit_says_whoever_they_come_to(fleet: Fleet) -> None:
    async with fleet.instance() as a, fleet.instance() as b, fleet.instance() as c, fleet.instance() as d:
        one_by_one = [await fleet.passes(one, rpm(3)) for one in (a, b, c, d, a, b, c, d)]

    assert one_by_one == [True, True, True, False, False, False, False, False]


async def test_of_those_who_come_at_once_as_many_pass_as_the_limit_says(fleet: Fleet) -> None:
    async with fleet.instance() as a, fleet.instance() as b, fleet.instance() as c:
        passed = await asyncio.gather(*(fleet.passes(one, rpm(7)) for one in (a, b, c) * 10))

    assert sum(passed) == 7


async def test_the_next_minute_begins_with_all_of_the_limit(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        await fleet.request(one, rpm(1))
        fleet.passed_s = 59.9
        assert not await fleet.passes(one, rpm(1))
        fleet.passed_s = 60
        assert await fleet.passes(one, rpm(1))


async def test_a_limit_of_0_lets_nothing_pass_and_nobody_is_asked(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        for nothing in (rpm(0), tpm(0), parallel(0)):
            with pytest.raises(RateLimited, match="limit of 0") as refused:
                await fleet.request(one, nothing)
            assert refused.value.headers["x-should-retry"] == "false"

    assert fleet.gate.calls == 0


async def test_a_lower_limit_holds_at_once(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        for _ in range(20):
            await fleet.request(one, rpm(6000))

        assert not await fleet.passes(one, rpm(20))


async def test_a_higher_limit_holds_at_once(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        await fleet.request(one, rpm(1))
        assert not await fleet.passes(one, rpm(1))

        assert await fleet.passes(one, rpm(2))


async def test_the_narrowest_of_several_limits_holds(fleet: Fleet) -> None:
    team = rate("requests", 2, scope="team:red")

    async with fleet.instance() as one:
        passed = [await fleet.passes(one, team, rpm(100)) for _ in range(3)]

        assert passed == [True, True, False]
        assert await fleet.passes(one, rpm(100))


async def test_a_refused_request_uses_nothing_up_of_any_limit(fleet: Fleet) -> None:
    limits = (rpm(2), tpm(HELD), parallel(1))

    async with fleet.instance() as one, fleet.instance() as other:
        async with one.hold(ASKED, limits) as hold:
            for _ in range(5):
                assert not await fleet.passes(one, *limits)
                assert not await fleet.passes(other, *limits)
                fleet.passed_s += 1
            hold.settle(NanoUsd(1), 0)
        fleet.passed_s += 2
        one.tend_once()
        await one.close()

        assert await fleet.passes(other, *limits)


async def test_what_is_refused_over_again_asks_the_gate_seldom(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        await fleet.request(one, rpm(1))
        asked = fleet.gate.calls
        for _ in range(1000):
            assert not await fleet.passes(one, rpm(1))
            fleet.passed_s += 0.01

    assert fleet.gate.calls == asked, "it knows who has it all"


async def test_what_others_have_used_up_is_asked_for_seldom(fleet: Fleet) -> None:
    async with fleet.instance() as one, fleet.instance() as other:
        await fleet.request(other, rpm(1))
        for _ in range(1000):
            assert not await fleet.passes(one, rpm(1))
            fleet.passed_s += 0.01

    assert fleet.gate.calls < 25


async def test_what_an_instance_took_ahead_goes_back_when_it_is_idle(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        for _ in range(3):
            await fleet.request(one, rpm(6000))
        assert await fleet.admitted("requests") > 3
        fleet.passed_s += 6
        one.tend_once()

    assert await fleet.admitted("requests") == 3


async def test_of_a_minute_that_is_over_nothing_is_kept(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        async with one.hold(ASKED, (rpm(6000), tpm(9000))) as hold:
            fleet.passed_s += 61
            one.tend_once()
            hold.settle(NanoUsd(1), 50)
        one.tend_once()

    assert await fleet.stores.gate.unsettled(fleet.now() + timedelta(days=1)) == []


# --- tokens a minute -------------------------------------------------------------------------------


async def test_a_request_has_the_tokens_that_it_had_and_not_those_that_it_might_have(fleet: Fleet) -> None:
    async with fleet.instance() as one, fleet.instance() as other:
        passed = [await fleet.passes(instance, tpm(200), tokens=20) for instance in (one, other) * 6]

    assert passed == [True] * 6 + [False] * 6  # 120 used: the next might have 93
    assert await fleet.admitted("tokens") == 120


async def test_an_answer_with_more_tokens_than_were_held_is_taken_off_what_is_left(fleet: Fleet) -> None:
    async with fleet.instance() as one, fleet.instance() as other:
        await fleet.request(one, tpm(1000), tokens=950)

        assert not await fleet.passes(other, tpm(1000))
        assert not await fleet.passes(one, tpm(1000))


async def test_a_request_that_nobody_answered_has_no_tokens_but_is_a_request(fleet: Fleet) -> None:
    limits = (rpm(2), tpm(100))

    async with fleet.instance() as one:
        async with one.hold(ASKED, limits):
            pass
        assert await fleet.passes(one, *limits, tokens=0)
        with pytest.raises(RateLimited, match="requests"):
            await fleet.request(one, *limits)

    assert (await fleet.admitted("requests"), await fleet.admitted("tokens")) == (2, 0)


async def test_a_request_that_may_have_more_tokens_than_the_limit_needs_all_of_it(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        assert await fleet.passes(one, tpm(50), tokens=30)
        assert not await fleet.passes(one, tpm(50))


async def test_a_request_whose_input_is_over_the_limit_is_told_that_it_never_passes(fleet: Fleet) -> None:
    long = chat_request(messages=[{"role": "user", "content": "word " * 1000}])

    async with fleet.instance() as one:
        with pytest.raises(RateLimited, match="never passes") as refused:
            await fleet.request(one, tpm(1000), asked=long)

    assert "retry-after" not in refused.value.headers
    assert refused.value.headers["x-should-retry"] == "false"


async def test_an_embedding_is_held_to_its_input(fleet: Fleet) -> None:
    async with fleet.instance() as one, one.hold(embedding_request(input="x" * 400), [tpm(500)]) as hold:
        assert hold.headers["x-ratelimit-remaining-tokens"] == "400"


async def test_an_answer_without_a_limit_has_a_modest_number_held(fleet: Fleet) -> None:
    async with fleet.instance() as one, one.hold(chat_request(n=2), [tpm(10_000)]) as hold:
        assert hold.headers["x-ratelimit-remaining-tokens"] == str(10_000 - 3 - 2 * 1024)


# --- requests at once ------------------------------------------------------------------------------


async def test_no_more_requests_are_under_way_at_once_than_the_limit_says(fleet: Fleet) -> None:
    async with fleet.instance() as a, fleet.instance() as b:
        async with a.hold(ASKED, [parallel(2)]), b.hold(ASKED, [parallel(2)]):
            with pytest.raises(RateLimited) as refused:
                await fleet.request(a, parallel(2))

        assert await fleet.passes(a, parallel(2))

    assert refused.value.headers["retry-after"] == "1"
    assert refused.value.headers["rate_limit_type"] == "max_parallel_requests"


async def test_one_request_after_the_other_always_passes(fleet: Fleet) -> None:
    async with fleet.instance() as a, fleet.instance() as b, fleet.instance() as c:
        assert all([await fleet.passes(one, parallel(1)) for one in (a, b, c) * 10])


async def test_one_client_that_asks_one_instance_keeps_its_place(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        for _ in range(50):
            await fleet.request(one, parallel(1))
            fleet.passed_s += 0.1

    assert fleet.gate.calls <= 4, "the first is not kept yet"


async def test_an_answer_waits_for_nothing_that_goes_back(fleet: Fleet) -> None:
    fleet.gate.may_return.clear()

    async with fleet.instance() as one:
        async with asyncio.timeout(1):
            await fleet.request(one, tpm(1000), tokens=950)  # more than it held: others are told
            await fleet.gate.returns.wait()
        fleet.gate.may_return.set()

    assert await fleet.admitted("tokens") == 950


async def test_a_place_goes_back_within_a_second_of_idleness(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        for _ in range(2):
            await fleet.request(one, parallel(1))
        assert await fleet.admitted("parallel", "all") == 1
        fleet.passed_s += 0.5
        one.tend_once()
        await one.close()

        assert await fleet.admitted("parallel", "all") == 0


async def test_one_client_that_asks_two_instances_in_turn_seldom_waits_for_its_place(fleet: Fleet) -> None:
    waited: list[float] = []

    async with fleet.instance() as a, fleet.instance() as b:
        for number in range(60):
            before = fleet.passed_s
            assert await fleet.passes((a, b)[number % 2], parallel(1))
            waited.append(fleet.passed_s - before)
            fleet.passed_s += 0.1

    assert max(waited) < 1.5
    assert sum(waited) / len(waited) < 0.15


async def test_what_is_full_here_is_refused_without_a_wait(fleet: Fleet) -> None:
    async with fleet.instance() as one, one.hold(ASKED, [parallel(1)]):
        asked = fleet.gate.calls
        assert not await fleet.passes(one, parallel(1))

        assert (fleet.passed_s, fleet.gate.calls) == (0, asked)


async def test_who_waited_in_vain_is_followed_by_some_who_do_not(fleet: Fleet) -> None:
    async with fleet.instance() as a, fleet.instance() as b, a.hold(ASKED, [parallel(1)]):
        assert not await fleet.passes(b, parallel(1))
        assert 2 <= fleet.passed_s < 2.2
        waited = fleet.passed_s
        for _ in range(5):
            assert not await fleet.passes(b, parallel(1))

        assert fleet.passed_s == waited


async def test_when_everything_is_over_every_place_is_given_back(fleet: Fleet) -> None:
    async with fleet.instance() as a, fleet.instance() as b:
        await asyncio.gather(*(fleet.passes(one, parallel(400)) for one in (a, b) * 100))
        assert await fleet.admitted("parallel", "all") > 0
        fleet.passed_s += 6
        for one in (a, b):
            one.tend_once()

    assert await fleet.admitted("parallel", "all") == 0


async def test_a_long_request_keeps_no_places_but_its_own(fleet: Fleet) -> None:
    """It moves to another allowance when its own is over."""
    async with fleet.instance() as one, one.hold(ASKED, [parallel(1000)]):
        await asyncio.gather(*(fleet.request(one, parallel(1000)) for _ in range(50)))
        before = await fleet.admitted("parallel", "all")
        fleet.passed_s += 19
        await asyncio.gather(*(fleet.request(one, parallel(1000)) for _ in range(before)))
        fleet.passed_s += 2
        one.tend_once()
        await one.close()

        assert await fleet.admitted("parallel", "all") <= 50
    assert await fleet.admitted("parallel", "all") == 0


async def test_the_places_of_an_instance_that_died_come_back(fleet: Fleet) -> None:
    async with fleet.mortal() as dying, dying.hold(ASKED, [parallel(1)]):
        fleet.gate.is_down = True  # it can't say a word any more
    fleet.gate.is_down = False

    async with fleet.instance() as one:
        assert not await fleet.passes(one, parallel(1))
        fleet.passed_s = 630
        await fleet.tick()
        assert not await fleet.passes(one, parallel(1)), "its request may be under way yet"
        fleet.passed_s = 651
        await fleet.tick()

        assert await fleet.passes(one, parallel(1))


# --- a store that fails ----------------------------------------------------------------------------


async def test_while_the_store_is_down_requests_live_on_what_there_is(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        await fleet.request(one, rpm(6000))
        await fleet.request(one, rpm(6000))
        fleet.gate.is_down = True
        assert await fleet.passes(one, rpm(6000))
        fleet.gate.is_down = False


async def test_while_the_store_is_down_and_nothing_is_there_everyone_is_told(fleet: Fleet) -> None:
    fleet.gate.is_down = True

    async with fleet.instance() as one:
        outcomes = await asyncio.gather(*(fleet.request(one, rpm(5)) for _ in range(20)), return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert fleet.gate.calls == 1


async def test_a_lost_answer_takes_nothing_twice(fleet: Fleet) -> None:
    fleet.gate.loses = 1

    async with fleet.instance() as one:
        with pytest.raises(StoreUnavailable):
            await fleet.request(one, parallel(1))
        assert await fleet.passes(one, parallel(1))


async def test_a_place_whose_answer_was_lost_is_given_back_though_nobody_asks_again(fleet: Fleet) -> None:
    fleet.gate.loses = 1

    async with fleet.instance() as one:
        with pytest.raises(StoreUnavailable):
            await fleet.request(one, parallel(1))
        async with asyncio.timeout(5):
            while await fleet.admitted("parallel", "all"):
                fleet.passed_s += 1
                one.tend_once()


async def test_what_the_store_could_not_take_back_is_given_once_more(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        async with one.hold(ASKED, [parallel(1)]):
            fleet.gate.is_down = True
        fleet.gate.is_down = False
        one.tend_once()

    assert await fleet.admitted("parallel", "all") == 0


async def test_a_store_that_goes_mad_ends_no_instance(fleet: Fleet) -> None:
    fleet.gate.is_broken = True

    async with fleet.instance() as one:
        await fleet.request(one, parallel(1))
        for _ in range(3):
            fleet.passed_s += 1
            one.tend_once()
            await one.close()
        fleet.gate.is_broken = False
        one.tend_once()
        await one.close()

        assert await fleet.admitted("parallel", "all") == 0


# --- together --------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("end"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("tend"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("pass"), st.just(0), st.sampled_from([1, 7, 31, 130])),
        st.tuples(st.just("close"), st.integers(0, 2), st.just(0)),
    ),
    min_size=5,
    max_size=40,
)


@dataclass
class Interleaving:
    """What requests do in a fleet, in steps of which several are under way at once."""

    fleet: Fleet
    instances: list[RateAdmission]
    limits: tuple[Rate, ...]
    open: list[tuple[int, asyncio.Event]] = field(default_factory=list[tuple[int, asyncio.Event]])
    requests: Counter[str] = field(default_factory=Counter[str])  # by the minute in which they came
    tokens: Counter[str] = field(default_factory=Counter[str])
    under_way: int = 0
    most_under_way: int = 0

    async def begin(self, instance: int, over: asyncio.Event) -> None:
        minute = window_at("1m", self.fleet.now()).key
        try:
            async with self.instances[instance].hold(ASKED, self.limits) as hold:
                self.requests[minute] += 1
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
                await over.wait()
                self.under_way -= 1
                used = HELD if instance else 5
                self.tokens[minute] += used
                hold.settle(NanoUsd(1), used)
        except RateLimited:
            pass

    async def run(self, steps: Sequence[tuple[str, int, int]]) -> None:
        async with asyncio.TaskGroup() as requests:
            for step, instance, number in steps:
                if step == "begin":
                    for _ in range(number):
                        over = asyncio.Event()
                        self.open.append((instance, over))
                        requests.create_task(self.begin(instance, over))
                elif step == "end":
                    mine = [over for of, over in self.open if of == instance and not over.is_set()]
                    for over in mine[:number]:
                        over.set()
                elif step == "pass":
                    self.fleet.passed_s += number
                elif step == "tend":
                    self.instances[instance].tend_once()
                else:
                    await self.instances[instance].close()
                for _ in range(min(number, 4)):
                    await asyncio.sleep(0.0005)  # some of what is asked of the store is answered, some isn't
            for _, over in self.open:
                over.set()


@settings(max_examples=40)
@given(
    steps=STEPS,
    requests=st.sampled_from([3, 20, 100]),
    tokens=st.sampled_from([100, 1000, 5000]),
    places=st.sampled_from([1, 4, 40]),
)
def test_in_any_order_of_what_happens_no_limit_is_passed(
    steps: list[tuple[str, int, int]], requests: int, tokens: int, places: int
) -> None:
    async def check() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with open_embedded(Path(folder)) as stores:
                fleet = Fleet(stores, WatchedGate(stores.gate))
                async with fleet.instance() as a, fleet.instance() as b, fleet.instance() as c:
                    run = Interleaving(fleet, [a, b, c], (rpm(requests), tpm(tokens), parallel(places)))
                    await run.run(steps)
                assert max(run.requests.values(), default=0) <= requests
                assert max(run.tokens.values(), default=0) <= tokens
                assert run.most_under_way <= places
                assert await fleet.admitted("parallel", "all") == 0

    asyncio.run(check())


async def test_several_instances_under_load_use_nearly_all_of_a_limit_and_never_pass_it(fleet: Fleet) -> None:
    """What was used when the first is refused."""
    used, first = 0, 0

    async def client(one: RateAdmission) -> None:
        nonlocal used, first
        for _ in range(400):
            if not await fleet.passes(one, rpm(900), tpm(10_000_000)):
                first = first or used
                return
            used += 1

    async with fleet.instance() as a, fleet.instance() as b, fleet.instance() as c:
        await asyncio.gather(*(client(one) for one in (a, b, c) for _ in range(4)))

    assert first >= 0.9 * 900
    assert used <= 900


async def test_at_a_steady_pace_the_gate_is_asked_for_few_of_the_requests(fleet: Fleet) -> None:
    """50 requests a second for two minutes, each of which takes two seconds, with all three limits."""
    limits = (rpm(6000), tpm(2_000_000), parallel(1000))
    under_way: list[tuple[float, asyncio.Task[None], asyncio.Event]] = []

    async def request(one: RateAdmission, over: asyncio.Event) -> None:
        async with one.hold(ASKED, limits) as hold:
            await over.wait()
            hold.settle(NanoUsd(1), 60)

    async with fleet.instance() as one:
        for number in range(6000):
            over = asyncio.Event()
            under_way.append((fleet.passed_s + 2, asyncio.create_task(request(one, over)), over))
            fleet.passed_s += 0.02
            while under_way and under_way[0][0] <= fleet.passed_s:
                _, task, ends = under_way.pop(0)
                ends.set()
                await task
            if number % 25 == 0:
                one.tend_once()
        for _, task, ends in under_way:
            ends.set()
            await task

    assert fleet.gate.calls / 6000 < 0.1


# --- with budgets ----------------------------------------------------------------------------------


@asynccontextmanager
async def whole(fleet: Fleet, max_budget: float) -> AsyncGenerator[WholeAdmission]:
    async with asyncio.TaskGroup() as tasks:
        budgets = AllowanceAdmission(
            budget(max_budget=max_budget),
            fleet.stores.gate,
            fleet.stores.counters,
            tasks,
            now=fleet.now,
            clock=lambda: fleet.passed_s,
            new_id=lambda: str(next(fleet.ids)),
            exceeded_status=429,
            terms=Terms(patience_s=0.05),
        )
        with fleet.tended(fleet.admission(tasks)) as rates:
            yield WholeAdmission(rates, budgets, lambda error, parties: None)


async def test_what_the_budget_refuses_uses_no_rate_up(fleet: Fleet) -> None:
    limits = Limits(rates=(rpm(1), tpm(100), parallel(1)))

    async with whole(fleet, max_budget=0) as broke, whole(fleet, max_budget=1) as rich:
        with pytest.raises(BudgetExceeded) as refused:
            async with broke.hold(ASKED, [deployment()], limits):
                pass
        async with rich.hold(ASKED, [deployment()], limits) as hold:
            assert len(hold.allowance_ids) == 1

    assert refused.value.headers["x-ratelimit-limit-requests"] == "1"


async def test_an_error_tells_of_the_rates_too(fleet: Fleet) -> None:
    async with whole(fleet, max_budget=1) as one:
        with pytest.raises(AllModelsFailed) as failed:
            async with one.hold(ASKED, [deployment()], Limits(rates=(rpm(5),))):
                raise AllModelsFailed([])

    assert failed.value.headers["x-ratelimit-remaining-requests"] == "4"
    assert failed.value.headers["x-should-retry"] == "false"


# --- over HTTP -------------------------------------------------------------------------------------

MASTER = "sk-master-of-all-keys"


@asynccontextmanager
async def gateway(fleet: Fleet) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of one whole instance, with the sandbox behind it."""
    file = {
        "model_list": [{"model_name": "gpt-4o", "litellm_params": {"model": "openai/gpt-4o"}}],
        "general_settings": {"master_key": MASTER},
    }
    credentials = {"openai": Credentials(api_key="sk", api_base="http://sandbox/v1")}
    config = parse_config(file, catalog=load_catalog(), environment={}, credentials=credentials)
    providers = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=build_app(Sandbox())))
    async with providers, whole(fleet, max_budget=10) as admission:
        completions = Completions(
            config=config,
            upstreams={"openai": openai_upstream(providers)},
            embedders={},
            fleet=Deployments(),
            admission=admission,
            bus=HeldBus(),
            now=fleet.now,
            clock=lambda: fleet.passed_s,
            random=lambda: 0.0,
        )
        keyring = Keyring(fleet.stores.keys, fleet.stores.accounts, MASTER, now=fleet.now, clock=lambda: fleet.passed_s)
        administration = KeyAdministration(
            fleet.stores.keys, keyring, now=fleet.now, new_key=lambda: f"sk-made-here-{next(fleet.ids):04}"
        )
        surface = Surface(config, fleet.stores.counters, keyring, now=fleet.now, is_sandbox=True)
        spending = Spending(fleet.stores.activity, fleet.stores.counters, now=fleet.now)
        keys = key_routes(KeySurface(administration, keyring, config, spending))
        app = at_edge(build_router(surface, completions, config, keyring, *keys))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://gateway") as http:
            yield http


async def made_key(http: httpx2.AsyncClient, **limits: Any) -> str:
    made = await http.post("/key/generate", json=limits, headers={"authorization": f"Bearer {MASTER}"})
    return made.json()["key"]


async def chat(http: httpx2.AsyncClient, key: str, **fields: Any) -> httpx2.Response:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say hello"}], **fields}
    return await http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_tells_of_the_limits_and_a_refusal_of_the_one_that_was_met(fleet: Fleet, stream: bool) -> None:
    async with gateway(fleet) as here, gateway(fleet) as there:
        key = await made_key(here, rpm_limit=2, max_parallel_requests=1)

        answers = [await chat(http, key, stream=stream) for http in (here, there, here)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert answers[0].headers["x-ratelimit-api_key-limit-max_parallel_requests"] == "1"
    error = answers[2].json()["error"]
    assert (error["type"], error["code"]) == ("throttling_error", "rate_limit_exceeded")
    assert 55 <= int(answers[2].headers["retry-after"]) <= 60  # it waited for what the other might not have used
    assert answers[2].headers["reset_at"] == "2026-11-24 12:01:00 UTC"


async def test_the_stock_client_knows_what_it_met(fleet: Fleet) -> None:
    async with gateway(fleet) as http:
        key = await made_key(http, model_rpm_limit={"gpt-4o": 0})
        client = AsyncOpenAI(api_key=key, base_url="http://gateway/v1", http_client=http, max_retries=0)

        with pytest.raises(RateLimitError, match="model_per_key") as refused:
            await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])

    assert refused.value.code == "rate_limit_exceeded"


async def test_a_changed_limit_holds_with_the_key_s_next_reading(fleet: Fleet) -> None:
    async with gateway(fleet) as http:
        key = await made_key(http, rpm_limit=1)
        assert [(await chat(http, key)).status_code for _ in range(2)] == [200, 429]

        await http.post("/key/update", json={"key": key, "rpm_limit": 2}, headers={"authorization": f"Bearer {MASTER}"})

        assert [(await chat(http, key)).status_code for _ in range(2)] == [200, 429]


async def test_the_tokens_of_an_answer_are_counted_as_they_were(fleet: Fleet) -> None:
    async with gateway(fleet) as http:
        answer = await chat(http, await made_key(http, tpm_limit=5000))

    left = 5000 - answer.json()["usage"]["total_tokens"]
    assert answer.headers["x-ratelimit-remaining-tokens"] == str(left)
