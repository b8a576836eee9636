"""`Ledger` and `Counters`, on both backends."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.budget import BudgetWindow, fold, increments
from events.codec import Event
from events.money import NanoUsd
from events.spend import SpendRecorded
from functions.gateway.errors import Unstorable
from functions.gateway.ports import AlreadyRecorded
from tests.builders import TODAY, budget, failure, spend
from tests.contract.conftest import Backend


async def replay(backend: Backend) -> dict[str, Event]:
    return {event.event_id: event async for event in backend.stores.ledger.replay()}


async def spent(backend: Backend, counter: str = TODAY) -> int:
    return (await backend.stores.counters.read(counter)).spent


async def test_a_commit_appends_and_counts_and_gives_the_totals(backend: Backend) -> None:
    first = await backend.stores.ledger.commit([spend("a", cost=5)], {TODAY: 5})
    second = await backend.stores.ledger.commit([spend("b", cost=7)], {TODAY: 7, "global:2026-11-23": 1})

    assert (first, second) == ({TODAY: 5}, {TODAY: 12, "global:2026-11-23": 1})
    assert await spent(backend) == 12
    assert await replay(backend) == {"a": spend("a", cost=5), "b": spend("b", cost=7)}


async def test_a_known_event_fails_its_whole_commit(backend: Backend) -> None:
    await backend.stores.ledger.commit([spend("a", cost=5)], {TODAY: 5})

    with pytest.raises(AlreadyRecorded) as known:
        await backend.stores.ledger.commit([spend("a", cost=5), spend("b", cost=7)], {TODAY: 12})

    assert known.value.event_ids == {"a"}
    assert set(await replay(backend)) == {"a"}
    assert await spent(backend) == 5


async def test_what_no_store_takes_is_told_from_a_store_that_is_down(backend: Backend) -> None:
    """Firestore's documents end at 1 MiB; a file takes far more."""
    huge = spend("huge", cost=5, request_id="x" * 1_200_000)

    (outcome,) = await asyncio.gather(backend.stores.ledger.commit([huge], {TODAY: 5}), return_exceptions=True)

    assert isinstance(outcome, dict | Unstorable)
    assert await spent(backend) == (5 if isinstance(outcome, dict) else 0)


async def test_events_that_cost_nothing_need_no_counter(backend: Backend) -> None:
    assert await backend.stores.ledger.commit([failure("f")], {}) == {}
    assert set(await replay(backend)) == {"f"}


async def test_an_empty_commit_changes_nothing(backend: Backend) -> None:
    assert await backend.stores.ledger.commit([], {}) == {}


async def test_of_two_writers_of_one_event_one_counts(backend: Backend) -> None:
    async with backend.open() as other:
        commits = [ledger.commit([spend("a", cost=5)], {TODAY: 5}) for ledger in (backend.stores.ledger, other.ledger)]
        outcomes = await asyncio.gather(*commits, return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AlreadyRecorded", "dict"]
    assert await spent(backend) == 5


async def test_a_long_ledger_is_replayed_whole(backend: Backend) -> None:
    for start in range(0, 700, 100):
        await backend.stores.ledger.commit([spend(f"e-{start + i:04}") for i in range(100)], {TODAY: 100})

    assert len(await replay(backend)) == 700
    assert await spent(backend) == 700


async def test_an_unknown_counter_is_at_zero(backend: Backend) -> None:
    assert await backend.stores.counters.read("global:1999-01-01") == BudgetWindow()


async def test_marks_are_remembered_and_repeating_them_is_harmless(backend: Backend) -> None:
    await backend.stores.ledger.commit([spend("a", cost=5)], {TODAY: 5})
    await backend.stores.counters.mark_announced(TODAY, [50, 80])
    await backend.stores.counters.mark_announced(TODAY, [80])

    assert await backend.stores.counters.read(TODAY) == BudgetWindow(NanoUsd(5), frozenset({50, 80}))


async def test_marks_of_every_kind_are_remembered_beside_each_other(backend: Backend) -> None:
    await backend.stores.counters.mark_announced(TODAY, ["soft_budget"])
    await backend.stores.counters.mark_announced(TODAY, ["soft_budget", 80, "projected"])

    marked = BudgetWindow(NanoUsd(0), frozenset({80}), frozenset({"soft_budget", "projected"}))
    assert await backend.stores.counters.read(TODAY) == marked
    assert [name async for name, _ in backend.stores.counters.all()] == [TODAY]


async def test_the_ledger_says_which_events_it_has(backend: Backend) -> None:
    await backend.stores.ledger.commit([spend("a"), spend("b")], {})

    assert await backend.stores.ledger.known(["a", "c", "b"]) == {"a", "b"}
    assert await backend.stores.ledger.known([]) == frozenset()


async def test_what_a_counter_says_can_be_replaced_and_its_marks_stay(backend: Backend) -> None:
    await backend.stores.counters.mark_announced(TODAY, [95])
    await backend.stores.counters.set_spent(TODAY, NanoUsd(9))

    assert await backend.stores.counters.read(TODAY) == BudgetWindow(NanoUsd(9), frozenset({95}))


async def test_every_counter_is_listed(backend: Backend) -> None:
    await backend.stores.counters.set_spent(TODAY, NanoUsd(9))
    await backend.stores.counters.mark_announced(TODAY, [95, "soft_budget"])
    await backend.stores.counters.mark_announced("team:red:all", ["soft_budget"])

    found = [counter async for counter in backend.stores.counters.all()]
    assert sorted(found) == [(TODAY, 9), ("team:red:all", 0)]


async def test_a_delivered_alert_is_remembered(backend: Backend) -> None:
    delivered = backend.stores.delivered_alerts
    assert not await delivered.has(f"{TODAY}:80")

    await delivered.add(f"{TODAY}:80")
    await delivered.add(f"{TODAY}:80")

    assert await delivered.has(f"{TODAY}:80")


_BATCHES = st.lists(st.lists(st.integers(0, 12), max_size=4, unique=True), max_size=6)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=_BATCHES)
async def test_what_is_counted_is_what_folding_the_ledger_says(backend: Backend, batches: list[list[int]]) -> None:
    """Duplicates change nothing: batches with a known event are refused whole."""
    counter = budget().counter(budget().window(spend().time))
    before = await spent(backend, counter)
    for batch in batches:
        events = [spend(f"n-{number}", cost=number) for number in batch]
        with suppress(AlreadyRecorded):
            await backend.stores.ledger.commit(events, increments([budget()], events))

    recorded = [event for event in (await replay(backend)).values() if isinstance(event, SpendRecorded)]
    assert await spent(backend, counter) == fold(BudgetWindow(), recorded).spent >= before
