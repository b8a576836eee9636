"""Allowances, with a real store: several instances spend from one budget."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from events.allowance import Allowance
from events.budget import Budget, budget_id_of, increments
from events.money import NanoUsd, nano_usd
from functions.adapters.embedded.stores import open_embedded
from functions.adapters.stores import Stores
from functions.gateway.allowances import AllowanceAdmission, AllowanceHold, Terms, open_admission
from functions.gateway.errors import BudgetExceeded, BudgetReserved, StoreUnavailable
from functions.gateway.ports import Gate, Grant, Limits, Request
from functions.gateway.worst_case import worst_case
from tests.builders import (
    NOON,
    TODAY,
    UNCAPPED,
    budget,
    chat_request,
    deployment,
    embedding_request,
    model,
    spend,
)

ASKED = chat_request(max_tokens=100)
WORST = worst_case(ASKED, [deployment()]).cost(100)  # about $0.0013, of which $0.001 is for 100 tokens
PATIENT = Terms(patience_s=5)
HURRIED = Terms(patience_s=0.05)


@dataclass
class WatchedGate:
    """A real gate that counts its calls, may be down, and may lose its answers."""

    gate: Gate
    calls: int = 0
    is_down: bool = False
    loses: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    async def take(self, asked: Allowance, *, limit: NanoUsd, gate_expires_at: datetime | None = None) -> Grant:
        self.calls += 1
        await self.open.wait()
        if self.is_down:
            raise StoreUnavailable("the store is down")
        grant = await self.gate.take(asked, limit=limit, gate_expires_at=gate_expires_at)
        if self.loses:
            self.loses -= 1
            raise StoreUnavailable("the answer was lost")
        return grant

    async def give_back(self, allowance_id: str, rest: NanoUsd) -> None:
        self.calls += 1
        if self.is_down:
            raise StoreUnavailable("the store is down")
        await self.gate.give_back(allowance_id, rest)

    async def admitted(self, counter: str) -> NanoUsd:
        self.calls += 1
        return await self.gate.admitted(counter)

    async def unsettled(self, now: datetime, *, limit: int = 500) -> Sequence[Allowance]:
        return await self.gate.unsettled(now, limit=limit)

    async def known(self, allowance_ids: Sequence[str]) -> Sequence[Allowance]:
        return await self.gate.known(allowance_ids)

    async def amend(self, before: Allowance, after: Allowance) -> bool:
        return await self.gate.amend(before, after)

    async def sweep(self, now: datetime, *, limit: int) -> int:
        return await self.gate.sweep(now, limit=limit)


@dataclass
class Fleet:
    """One store, and instances on it."""

    stores: Stores
    gate: WatchedGate
    budgets: list[Budget]
    now: datetime = NOON
    ids: "count[int]" = field(default_factory=count)
    spent: int = 0

    def instance(self, terms: Terms = HURRIED) -> AbstractAsyncContextManager[AllowanceAdmission]:
        return open_admission(lambda tasks: self._admission(tasks, terms))

    def _admission(self, tasks: asyncio.TaskGroup, terms: Terms) -> AllowanceAdmission:
        return AllowanceAdmission(
            self.budgets[0],
            self.gate,
            self.stores.counters,
            tasks,
            now=lambda: self.now,
            clock=asyncio.get_running_loop().time,
            new_id=lambda: str(next(self.ids)),
            exceeded_status=429,
            terms=terms,
        )

    @property
    def limit(self) -> int:
        return self.budgets[0].max_budget or 0

    @property
    def limits(self) -> Limits:
        return Limits(budgets=tuple(self.budgets[1:]))

    async def record(self, hold: AllowanceHold, cost: int) -> None:
        """What a request does at its end: its event is folded, its hold settled."""
        self.spent += cost
        event = spend(f"e-{next(self.ids)}", cost=cost, allowance_ids=hold.allowance_ids)
        hold.settle(NanoUsd(cost), tokens=0)
        await self.stores.ledger.commit([event], increments(self.budgets, [event]))

    async def request(self, admission: AllowanceAdmission, cost: int, request: Request = ASKED) -> int | None:
        """One request that costs so much, or what its length allows. Gives what its answer's length was lowered to."""
        async with admission.hold(request, [deployment()], self.limits) as hold:
            await asyncio.sleep(0)
            if hold.max_tokens is not None:
                cost = min(cost, worst_case(request, [deployment()]).cost(hold.max_tokens))
            await self.record(hold, cost)
            return hold.max_tokens

    async def admitted(self, counter: str = TODAY) -> int:
        return await self.stores.gate.admitted(counter)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncGenerator[Fleet]:
    async with open_embedded(tmp_path) as stores:
        yield Fleet(stores, WatchedGate(stores.gate), [budget(max_budget=1)])


def of(cost: int, times: float) -> Budget:
    """The global budget, of so many times a cost."""
    return replace(budget(), max_budget=NanoUsd(int(cost * times)))


async def test_what_a_request_did_not_need_is_there_for_the_next(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 2)]

    async with fleet.instance() as one:
        for _ in range(20):
            await fleet.request(one, WORST // 20)

    assert await fleet.admitted() == fleet.spent == WORST // 20 * 20


async def test_many_requests_take_few_round_trips(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        for _ in range(200):
            await fleet.request(one, WORST // 20)

    assert fleet.gate.calls < 20


async def test_those_who_come_at_once_ask_the_gate_once(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        await asyncio.gather(*(fleet.request(one, WORST) for _ in range(30)))
        asked = fleet.gate.calls

    assert asked <= 2


async def test_a_closed_instance_gives_back_everything_that_it_did_not_spend(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        await fleet.request(one, 7)
        assert await fleet.admitted() > 7

    assert await fleet.admitted() == 7


async def test_an_idle_instance_gives_back_what_it_does_not_use(fleet: Fleet) -> None:
    async with fleet.instance(replace(HURRIED, idle_s=0)) as one:
        await fleet.request(one, 7)

        async with asyncio.timeout(5):
            while await fleet.admitted() > 7:  # noqa: ASYNC110 (it is a store that is watched)
                await asyncio.sleep(0.05)


async def test_over_the_budget_a_request_is_refused(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 1)]

    async with fleet.instance() as one:
        await fleet.request(one, WORST)
        with pytest.raises(BudgetExceeded) as refused:
            await fleet.request(one, 1)

    assert refused.value.status == 429
    assert fleet.spent == WORST


async def test_a_refusal_says_whose_budget_is_spent_how_much_of_it_and_when_it_opens(fleet: Fleet) -> None:
    fleet.budgets = [budget(), replace(of(WORST, 1.001), budget_id=budget_id_of("key", "5f3c", "openai/gpt-4o"))]

    async with fleet.instance() as one:
        await fleet.request(one, WORST)
        with pytest.raises(BudgetExceeded) as refused:
            await fleet.request(one, 1)

    assert refused.value.details == {
        "scope": "model",
        "scope_id": "openai/gpt-4o",
        "spend": WORST / 10**9,
        "max_budget": (WORST * 1001 // 1000) / 10**9,
        "budget_reset_at": "2026-11-25T00:00:00Z",
    }
    assert refused.value.headers == {"x-should-retry": "false", "retry-after": "43200"}


async def test_a_budget_without_end_says_that_it_does_not_open_by_itself(fleet: Fleet) -> None:
    fleet.budgets = [budget(), replace(budget(max_budget=0), budget_id="team:red", duration=None)]

    async with fleet.instance() as one:
        with pytest.raises(BudgetExceeded, match="doesn't open by itself: raise max_budget") as refused:
            await fleet.request(one, 1)

    assert refused.value.details["budget_reset_at"] is None
    assert refused.value.headers == {"x-should-retry": "false"}


async def test_what_requests_under_way_hold_is_not_called_spent(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 1.5)]

    async with fleet.instance() as one, fleet.instance() as other, one.hold(ASKED, [deployment()], fleet.limits):
        for instance in (one, other, other):
            with pytest.raises(BudgetReserved, match="is not spent") as refused:
                await fleet.request(instance, 1)

    assert (refused.value.status, refused.value.code) == (429, "budget_reserved")
    assert refused.value.headers == {"x-should-retry": "true", "retry-after": "2"}
    assert refused.value.details["scope"] == "global"


async def test_an_answer_is_not_made_short_by_what_others_only_hold(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 1.95)]

    async with fleet.instance() as one, one.hold(ASKED, [deployment()], fleet.limits):
        with pytest.raises(BudgetReserved):
            await fleet.request(one, 1)


async def test_one_who_asks_too_much_keeps_nobody_else_out(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 2)]
    too_much = embedding_request(input="x" * 10_000)

    async with fleet.instance() as one:
        outcomes = await asyncio.gather(
            *(fleet.request(one, 5, request) for request in (too_much, ASKED)), return_exceptions=True
        )
        assert await fleet.request(one, 5) is None

    assert [type(outcome) for outcome in outcomes] == [BudgetExceeded, type(None)]


async def test_without_a_limit_of_their_own_many_requests_fit_into_a_budget(fleet: Fleet) -> None:
    unlimited, long = chat_request(), deployment(model=replace(model(), max_output_tokens=100_000))
    fleet.budgets = [of(worst_case(unlimited, [long]).cost(100_000), 40)]

    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(fleet.instance())
        holds = [await stack.enter_async_context(one.hold(unlimited, [long])) for _ in range(30)]
        allowed = [hold.max_tokens for hold in holds]

    assert allowed[0] is None
    assert allowed[-1] is not None
    assert allowed[-1] >= 4096


async def test_a_request_with_a_limit_of_its_own_keeps_it(fleet: Fleet) -> None:
    long = deployment(model=replace(model(), max_output_tokens=100_000))
    asked = chat_request(max_tokens=90_000)
    fleet.budgets = [of(worst_case(asked, [long]).cost(90_000), 1)]

    async with fleet.instance() as one, one.hold(asked, [long]) as hold:
        assert hold.max_tokens is None


async def test_a_budget_that_nobody_asks_for_any_more_is_forgotten(fleet: Fleet) -> None:
    fleet.budgets = [budget(), replace(budget(), budget_id="team:red", duration=None)]

    async with fleet.instance(replace(HURRIED, idle_s=0)) as one:
        await fleet.request(one, 7)
        async with asyncio.timeout(5):
            while one.budgets_known:  # noqa: ASYNC110 (it is the instance that is watched)
                await asyncio.sleep(0.05)


async def test_a_budget_of_nothing_refuses_everyone_at_once(fleet: Fleet) -> None:
    fleet.budgets = [budget(max_budget=0)]

    async with fleet.instance(PATIENT) as one, asyncio.timeout(2):
        with pytest.raises(BudgetExceeded):
            await fleet.request(one, 0)


async def test_near_the_end_an_answer_is_made_as_long_as_can_be_paid(fleet: Fleet) -> None:
    fleet.budgets = [replace(budget(), max_budget=NanoUsd(WORST - nano_usd(0.0005)))]

    async with fleet.instance() as one:
        assert await fleet.request(one, 5) == 50


async def test_an_answer_that_cost_more_than_its_worst_case_is_counted_before_the_next(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 10)]

    async with fleet.instance() as one, fleet.instance() as other:
        await fleet.request(one, WORST * 11)
        with pytest.raises(BudgetExceeded):
            await fleet.request(other, 1)
        with pytest.raises(BudgetExceeded):
            await fleet.request(one, 1)

    assert await fleet.admitted() == fleet.spent == WORST * 11


async def test_where_that_is_not_wanted_it_is_refused(fleet: Fleet) -> None:
    fleet.budgets = [replace(budget(), max_budget=NanoUsd(WORST - nano_usd(0.0005)))]

    async with fleet.instance(replace(HURRIED, lowers_max_tokens=False)) as one:
        with pytest.raises(BudgetExceeded):
            await fleet.request(one, 5)


async def test_an_answer_too_short_to_be_of_use_is_refused(fleet: Fleet) -> None:
    fleet.budgets = [replace(budget(), max_budget=NanoUsd(WORST - nano_usd(0.0009)))]

    async with fleet.instance() as one:
        with pytest.raises(BudgetExceeded):
            await fleet.request(one, 5)


async def test_a_request_waits_for_what_another_one_may_give_back(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 1.5)]

    async with fleet.instance(PATIENT) as one, asyncio.timeout(3):
        async with one.hold(ASKED, [deployment()], fleet.limits) as first:
            second = asyncio.create_task(fleet.request(one, 3))
            await asyncio.sleep(0.05)
            assert not second.done()
            await fleet.record(first, 2)
        assert await second is None


async def test_a_request_that_ends_without_a_word_was_not_spent(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 1)]

    async with fleet.instance() as one:
        async with one.hold(ASKED, [deployment()], fleet.limits):
            pass
        await fleet.request(one, 5)

    assert await fleet.admitted() == 5


async def test_who_gives_up_waiting_leaves_nothing_held(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 1)]

    async with fleet.instance(PATIENT) as one:
        async with one.hold(ASKED, [deployment()], fleet.limits) as first:
            second = asyncio.create_task(fleet.request(one, 3))
            await asyncio.sleep(0.05)
            second.cancel()
            await fleet.record(first, 2)
        await asyncio.gather(second, return_exceptions=True)

    assert await fleet.admitted() == fleet.spent == 2


async def test_who_gives_up_the_moment_that_something_comes_back_leaves_it_to_others(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 1.5)]

    async with fleet.instance(PATIENT) as one:
        async with one.hold(ASKED, [deployment()], fleet.limits) as first:
            second = asyncio.create_task(fleet.request(one, 3))
            await asyncio.sleep(0.05)
            second.cancel()
            await fleet.record(first, 0)
        await asyncio.gather(second, return_exceptions=True)
        await fleet.request(one, 4)

    assert await fleet.admitted() == fleet.spent == 4


async def test_a_lost_answer_takes_nothing_twice(fleet: Fleet) -> None:
    fleet.gate.loses = 1

    async with fleet.instance() as one:
        with pytest.raises(StoreUnavailable):
            await fleet.request(one, 5)
        await fleet.request(one, 5)

    assert await fleet.admitted() == 5


async def test_while_the_store_is_down_requests_live_on_what_there_is(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        for _ in range(3):
            await fleet.request(one, WORST)
        fleet.gate.is_down = True
        await fleet.request(one, 5)


async def test_while_the_store_is_down_and_nothing_is_there_everyone_is_told(fleet: Fleet) -> None:
    fleet.gate.is_down = True

    async with fleet.instance() as one:
        outcomes = await asyncio.gather(*(fleet.request(one, 5) for _ in range(20)), return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert fleet.gate.calls <= 2


async def test_a_store_that_is_slow_is_no_budget_that_is_spent(fleet: Fleet) -> None:
    fleet.gate.open.clear()

    async with fleet.instance(replace(HURRIED, store_within_s=0.1)) as one:
        with pytest.raises(StoreUnavailable):
            await fleet.request(one, 5)
        fleet.gate.open.set()


async def test_a_request_needs_all_budgets_and_holds_in_all_or_in_none(fleet: Fleet) -> None:
    team = replace(of(WORST, 1), budget_id="team:red")
    fleet.budgets = [budget(), team]

    async with fleet.instance() as one:
        await fleet.request(one, WORST)
        with pytest.raises(BudgetExceeded) as refused:
            await fleet.request(one, 5)

    assert (refused.value.details["scope"], refused.value.details["scope_id"]) == ("team", "red")

    assert await fleet.admitted() == await fleet.admitted("team:red:2026-11-24") == WORST


async def test_a_request_is_counted_in_each_of_its_budgets(fleet: Fleet) -> None:
    fleet.budgets = [budget(), replace(budget(), budget_id="team:red"), replace(budget(), budget_id="key:5f")]

    async with fleet.instance() as one, one.hold(ASKED, [deployment()], fleet.limits) as hold:
        await fleet.record(hold, 9)

    counters = [f"{one.budget_id}:2026-11-24" for one in fleet.budgets]
    assert [(await fleet.stores.counters.read(counter)).spent for counter in counters] == [9, 9, 9]


async def test_a_new_window_begins_with_all_of_its_budget(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 1)]

    async with fleet.instance() as one:
        await fleet.request(one, WORST)
        fleet.now += timedelta(days=1)
        await fleet.request(one, WORST)


async def test_without_a_budget_nobody_is_asked(fleet: Fleet) -> None:
    fleet.budgets = [UNCAPPED]

    async with fleet.instance() as one:
        await fleet.request(one, 5)

    assert fleet.gate.calls == 0


async def test_several_instances_use_a_budget_up_and_never_pass_it(fleet: Fleet) -> None:
    """Each has clients that ask without pause; what was used when the first of them is refused is nearly all."""
    fleet.budgets = [of(WORST, 150)]
    used: list[float] = []

    async def client(admission: AllowanceAdmission, cost: Callable[[int], int]) -> None:
        for turn in count():
            try:
                await fleet.request(admission, cost(turn))
            except BudgetReserved:
                await asyncio.sleep(0.01)  # clients come back later
            except BudgetExceeded:
                used.append(fleet.spent / fleet.limit)
                return

    async with AsyncExitStack() as stack:
        exact = replace(PATIENT, lowers_max_tokens=False)
        instances = [await stack.enter_async_context(fleet.instance(exact)) for _ in range(3)]
        clients = [client(one, lambda turn: WORST * (turn % 4 + 1) // 5) for one in instances for _ in range(6)]
        async with asyncio.timeout(60):
            await asyncio.gather(*clients)

    assert used[0] >= 0.97
    assert await fleet.admitted() == fleet.spent <= fleet.limit


async def test_what_was_spent_without_a_limit_counts_when_there_is_one(fleet: Fleet) -> None:
    """Whoever asks first has it counted as handed out, once."""
    await fleet.stores.ledger.commit([spend("e-before", cost=WORST * 3)], {TODAY: WORST * 3})
    fleet.budgets = [of(WORST, 4)]

    async with fleet.instance() as one, fleet.instance() as other, one.hold(ASKED, [deployment()], fleet.limits):
        with pytest.raises((BudgetExceeded, BudgetReserved)):
            await fleet.request(other, 5)

    assert await fleet.admitted() == WORST * 3


async def test_where_a_budget_is_lowered_nothing_begins_on_what_is_in_hand(fleet: Fleet) -> None:
    fleet.budgets = [of(WORST, 1000)]

    async with fleet.instance() as one:
        for _ in range(20):
            await fleet.request(one, WORST // 2)
        lowered = Limits(budgets=(replace(fleet.budgets[0], max_budget=NanoUsd(WORST)),))
        one._budget = lowered.budgets[0]  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(BudgetExceeded):
            await fleet.request(one, 5)


async def test_what_can_not_be_given_back_is_given_later(fleet: Fleet) -> None:
    async with fleet.instance() as one:
        async with one.hold(ASKED, [deployment()], fleet.limits) as hold:
            fleet.gate.is_down = True
            await fleet.record(hold, 5)
        await one.close()
        assert await fleet.admitted() > 5

        fleet.gate.is_down = False
        await one.close()
        assert await fleet.admitted() == 5
