"""`Gate`, on both backends."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.budget import budget_id_of
from events.money import NanoUsd
from functions.gateway.ports import Grant
from tests.builders import NOON, TODAY, allowance
from tests.contract.conftest import Backend

LIMIT = NanoUsd(100)


async def take(backend: Backend, name: str, amount: int, *, limit: int = LIMIT) -> int:
    grant = await backend.stores.gate.take(allowance(name, amount), limit=NanoUsd(limit))
    return grant.granted


async def admitted(backend: Backend) -> int:
    return await backend.stores.gate.admitted(TODAY)


async def unsettled(backend: Backend) -> Sequence[str]:
    return [late.allowance_id for late in await backend.stores.gate.unsettled(NOON)]


async def test_what_is_asked_for_is_granted_while_it_is_there(backend: Backend) -> None:
    gate = backend.stores.gate

    assert await gate.take(allowance("a", 60), limit=LIMIT) == Grant(NanoUsd(60), NanoUsd(60))
    assert await gate.take(allowance("b", 30), limit=LIMIT) == Grant(NanoUsd(30), NanoUsd(90))
    assert await admitted(backend) == 90


async def test_the_last_one_is_granted_what_is_left(backend: Backend) -> None:
    await take(backend, "a", 90)

    assert await backend.stores.gate.take(allowance("b", 30), limit=LIMIT) == Grant(NanoUsd(10), LIMIT)
    assert await admitted(backend) == 100


async def test_where_nothing_is_left_nothing_is_granted_or_kept(backend: Backend) -> None:
    await take(backend, "a", 100)

    assert await take(backend, "b", 30) == 0
    assert await admitted(backend) == 100
    assert await unsettled(backend) == [f"{TODAY}|a"]


async def test_a_limit_that_was_lowered_under_what_is_handed_out_grants_nothing(backend: Backend) -> None:
    await take(backend, "a", 100)

    assert await take(backend, "b", 5, limit=50) == 0
    assert await admitted(backend) == 100


async def test_an_allowance_that_is_asked_for_again_is_taken_once(backend: Backend) -> None:
    await take(backend, "a", 60)

    assert await take(backend, "a", 60) == 60
    assert await admitted(backend) == 60


async def test_an_allowance_that_was_cut_is_the_same_when_it_is_asked_for_again(backend: Backend) -> None:
    await take(backend, "a", 90)
    await take(backend, "b", 30)

    assert await take(backend, "b", 30) == 10
    assert await admitted(backend) == 100


async def test_of_many_that_ask_at_once_all_together_get_what_there_is(backend: Backend) -> None:
    async with backend.open() as other:
        gates = (backend.stores.gate, other.gate)
        asked = [gates[n % 2].take(allowance(f"a-{n}", 15), limit=LIMIT) for n in range(12)]
        granted = [grant.granted for grant in await asyncio.gather(*asked)]

    assert sum(granted) == await admitted(backend) <= 100


async def test_what_one_gives_back_another_gets(backend: Backend) -> None:
    await take(backend, "a", 100)
    await backend.stores.gate.give_back(allowance("a").allowance_id, NanoUsd(40))

    assert await take(backend, "b", 100) == 40
    assert await unsettled(backend) == [f"{TODAY}|b"]


async def test_what_is_given_back_twice_counts_once(backend: Backend) -> None:
    await take(backend, "a", 100)
    for _ in range(2):
        await backend.stores.gate.give_back(allowance("a").allowance_id, NanoUsd(40))

    assert await admitted(backend) == 60


async def test_what_was_spent_over_the_allowance_is_handed_out_after_the_fact(backend: Backend) -> None:
    await take(backend, "a", 100)
    await backend.stores.gate.give_back(allowance("a").allowance_id, NanoUsd(-7))

    assert await admitted(backend) == 107


async def test_an_allowance_is_late_once_its_requests_must_be_over(backend: Backend) -> None:
    await backend.stores.gate.take(allowance("a", settled_by=NOON - timedelta(seconds=1)), limit=LIMIT)
    await backend.stores.gate.take(allowance("b", settled_by=NOON + timedelta(microseconds=1)), limit=LIMIT)

    assert await backend.stores.gate.unsettled(NOON) == [allowance("a", settled_by=NOON - timedelta(seconds=1))]


async def test_of_many_that_are_late_those_that_are_it_for_longest_are_given(backend: Backend) -> None:
    for name, seconds in {"a": 1, "b": 3, "c": 2}.items():
        late = allowance(name, settled_by=NOON - timedelta(seconds=seconds))
        await backend.stores.gate.take(late, limit=LIMIT)

    found = await backend.stores.gate.unsettled(NOON, limit=2)
    assert [late.allowance_id for late in found] == [f"{TODAY}|b", f"{TODAY}|c"]


async def test_what_is_taken_as_spent_is_never_late_and_stays_handed_out(backend: Backend) -> None:
    spent = allowance("a", 60, returned=NanoUsd(0))
    await backend.stores.gate.take(spent, limit=LIMIT)
    await backend.stores.gate.give_back(spent.allowance_id, NanoUsd(60))

    assert await unsettled(backend) == []
    assert await admitted(backend) == 60


async def test_a_tick_that_looks_is_remembered(backend: Backend) -> None:
    await take(backend, "a", 10)
    watched = replace(allowance("a"), watched=NanoUsd(4), watched_since=NOON)

    assert await backend.stores.gate.amend(allowance("a"), watched)
    assert await backend.stores.gate.unsettled(NOON) == [watched]
    assert await admitted(backend) == 10


async def test_what_is_reconciled_is_others_to_spend(backend: Backend) -> None:
    await take(backend, "a", 100)

    assert await backend.stores.gate.amend(allowance("a", 100), allowance("a", 100, returned=NanoUsd(40)))
    assert await admitted(backend) == 60


async def test_what_came_late_is_taken_out_again(backend: Backend) -> None:
    await take(backend, "a", 100)
    returned = allowance("a", 100, returned=NanoUsd(40))
    await backend.stores.gate.amend(allowance("a", 100), returned)

    assert await backend.stores.gate.amend(returned, replace(returned, returned=NanoUsd(25)))
    assert await admitted(backend) == 75


async def test_of_two_ticks_that_reconcile_at_once_one_does(backend: Backend) -> None:
    await take(backend, "a", 100)
    after = allowance("a", 100, returned=NanoUsd(40))
    async with backend.open() as other:
        gates = (backend.stores.gate, other.gate)
        done = await asyncio.gather(*(gate.amend(allowance("a", 100), after) for gate in gates))

    assert sorted(done) == [False, True]
    assert await admitted(backend) == 60


async def test_an_instance_that_comes_back_after_its_allowance_was_reconciled_gives_nothing_back(
    backend: Backend,
) -> None:
    await take(backend, "a", 100)
    await backend.stores.gate.amend(allowance("a", 100), allowance("a", 100, returned=NanoUsd(40)))
    await backend.stores.gate.give_back(allowance("a").allowance_id, NanoUsd(40))

    assert await admitted(backend) == 60


async def test_an_allowance_that_was_given_back_is_not_reconciled(backend: Backend) -> None:
    await take(backend, "a", 100)
    await backend.stores.gate.give_back(allowance("a").allowance_id, NanoUsd(40))

    assert not await backend.stores.gate.amend(allowance("a", 100), allowance("a", 100, returned=NanoUsd(40)))
    assert await admitted(backend) == 60


async def test_what_is_reconciled_is_late_no_more_but_known(backend: Backend) -> None:
    await take(backend, "a", 100)
    after = allowance("a", 100, returned=NanoUsd(0))
    await backend.stores.gate.amend(allowance("a", 100), after)

    assert await unsettled(backend) == []
    assert await backend.stores.gate.known([after.allowance_id, allowance("b").allowance_id]) == [after]


async def test_an_unknown_counter_has_handed_out_nothing(backend: Backend) -> None:
    assert await backend.stores.gate.admitted("global:1999-01-01") == 0


@pytest.mark.parametrize("name", ["openai/gpt-4o", "päivi", "a|b:c", "x" * 2000, "."])
async def test_a_budget_of_any_name_has_its_gate(backend: Backend, name: str) -> None:
    asked = allowance(counter=f"{budget_id_of('team', name)}:2026-11-24")

    assert (await backend.stores.gate.take(asked, limit=LIMIT)).granted == 10
    assert await backend.stores.gate.admitted(asked.counter) == 10
    assert (await backend.stores.gate.unsettled(NOON))[-1].counter == asked.counter


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amounts=st.lists(st.integers(1, 60), min_size=1, max_size=8), counter=st.uuids())
async def test_what_is_handed_out_is_what_each_was_granted(backend: Backend, amounts: list[int], counter: str) -> None:
    gate = backend.stores.gate
    asked = [allowance(f"a-{n}", amount, counter=f"{counter}:x") for n, amount in enumerate(amounts)]
    grants = [await gate.take(one, limit=LIMIT) for one in asked]

    assert sum(grant.granted for grant in grants) == min(100, sum(amounts)) == await gate.admitted(f"{counter}:x")


LATER = NOON + timedelta(days=7)


async def take_expiring(backend: Backend, name: str, *, counter: str = TODAY, is_endless: bool = False) -> None:
    asked = allowance(name, 10, counter=counter, expires_at=LATER)
    await backend.stores.gate.take(asked, limit=LIMIT, gate_expires_at=None if is_endless else LATER)


async def left_of(backend: Backend, *names: str) -> list[str]:
    known = await backend.stores.gate.known([allowance(name).allowance_id for name in names])
    return [one.allowance_id.rpartition("|")[2] for one in known]


async def test_what_was_given_back_is_remembered_until_it_expires(backend: Backend) -> None:
    gate = backend.stores.gate
    await take_expiring(backend, "a")
    await gate.give_back(allowance("a").allowance_id, NanoUsd(4))

    assert await gate.sweep(LATER - timedelta(seconds=1), limit=10) == 0
    assert await left_of(backend, "a") == ["a"]
    assert await gate.sweep(LATER, limit=10) == 2  # and the gate with it
    assert (await left_of(backend, "a"), await admitted(backend)) == ([], 0)
    assert await gate.sweep(LATER, limit=10) == 0


async def test_what_was_reconciled_is_swept_and_what_was_not_keeps_its_gate(backend: Backend) -> None:
    gate = backend.stores.gate
    for name in "ab":
        await take_expiring(backend, name)
    before = allowance("a", expires_at=LATER)
    await gate.amend(before, replace(before, returned=NanoUsd(3)))

    assert await gate.sweep(LATER, limit=10) == 1
    assert (await left_of(backend, "a", "b"), await admitted(backend)) == (["b"], 17)


async def test_an_allowance_is_swept_with_its_counter_and_no_other(backend: Backend) -> None:
    counters, ours = backend.stores.counters, allowance("a").allowance_id
    await take_expiring(backend, "a")
    for counter in (TODAY, ours, allowance("b").allowance_id):
        await counters.set_spent(counter, NanoUsd(6))
    await backend.stores.gate.give_back(ours, NanoUsd(4))

    await backend.stores.gate.sweep(LATER, limit=10)

    assert {name async for name, _ in counters.all()} == {TODAY, allowance("b").allowance_id}


async def test_the_gate_of_a_window_without_end_is_never_swept(backend: Backend) -> None:
    gate = backend.stores.gate
    await take_expiring(backend, "a", is_endless=True)
    await gate.give_back(allowance("a").allowance_id, NanoUsd(4))

    assert await gate.sweep(LATER + timedelta(days=9999), limit=10) == 1
    assert await admitted(backend) == 6


async def test_a_gate_keeps_its_expiry_when_something_comes_back(backend: Backend) -> None:
    gate = backend.stores.gate
    await take_expiring(backend, "a")
    await gate.take(allowance("b"), limit=LIMIT)
    await gate.give_back(allowance("a").allowance_id, NanoUsd(10))

    await gate.sweep(LATER, limit=10)

    assert (await left_of(backend, "a", "b"), await admitted(backend)) == (["b"], 10)


async def test_what_lapses_with_its_window_is_never_late_and_swept_without_having_come_back(backend: Backend) -> None:
    gate, end = backend.stores.gate, NOON + timedelta(minutes=3)
    lapsing = allowance("a", settled_by=end, expires_at=end)
    await gate.take(lapsing, limit=LIMIT, gate_expires_at=end)

    assert await gate.unsettled(LATER) == []
    assert await gate.sweep(end - timedelta(seconds=1), limit=10) == 0
    assert await gate.sweep(end, limit=10) == 2
    assert (await left_of(backend, "a"), await admitted(backend)) == ([], 0)


async def test_what_lapses_may_come_back_before(backend: Backend) -> None:
    gate, end = backend.stores.gate, NOON + timedelta(minutes=3)
    await gate.take(allowance("a", settled_by=end, expires_at=end), limit=LIMIT, gate_expires_at=end)

    await gate.give_back(allowance("a").allowance_id, NanoUsd(4))

    assert await admitted(backend) == 6
    assert await gate.sweep(end, limit=10) == 2


async def test_a_sweep_forgets_no_more_than_it_may(backend: Backend) -> None:
    gate, names = backend.stores.gate, "abcde"
    for name in names:
        await take_expiring(backend, name)
        await gate.give_back(allowance(name).allowance_id, NanoUsd(10))

    assert [await gate.sweep(LATER, limit=2) for _ in range(4)] == [2, 2, 2, 0]
    assert await left_of(backend, *names) == []


async def test_what_is_not_said_to_expire_never_does(backend: Backend) -> None:
    gate = backend.stores.gate
    await take(backend, "a", 10)
    await gate.give_back(allowance("a").allowance_id, NanoUsd(4))

    assert await gate.sweep(LATER + timedelta(days=9999), limit=10) == 0


async def test_an_allowance_that_was_given_back_is_not_handed_out_again(backend: Backend) -> None:
    await take(backend, "a", 10)
    await backend.stores.gate.give_back(allowance("a").allowance_id, NanoUsd(10))

    assert await take(backend, "a", 10) == 0
    assert await admitted(backend) == 0
