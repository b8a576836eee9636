"""Folding, with a real store and bus: grouped, exactly once, alerts when they are due."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from events.budget import ThresholdCrossed, increments
from events.codec import Event, decode
from events.money import NanoUsd, nano_usd
from events.tick import Ticked
from functions.adapters.embedded.bus import SqliteSubscription
from functions.adapters.embedded.stores import open_bus_file, open_embedded
from functions.adapters.stores import Stores
from functions.gateway.errors import StoreUnavailable, Unstorable
from functions.gateway.folding import Folder, open_folder
from functions.gateway.ports import BUDGET_ALERTS, Ledger
from functions.replay import replayed
from tests.builders import NOON, TODAY, allowance, budget, failure, spend


class WatchedLedger:
    """A real ledger that counts its commits, may be down, and may choke on one event."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.commits: list[int] = []
        self.is_down = False
        self.chokes_on: str | None = None
        self.replay = ledger.replay

    async def commit(self, events: Sequence[Event], increments: Mapping[str, int]) -> dict[str, int]:
        if self.is_down:
            raise StoreUnavailable("the store is down")
        if self.chokes_on in {event.event_id for event in events}:
            raise Unstorable("no store can take this")
        totals = await self._ledger.commit(events, increments)
        self.commits.append(len(events))
        return totals


class Fold:
    """A folder with its store, and the alerts that it has published."""

    def __init__(self, stores: Stores, subscription: SqliteSubscription) -> None:
        self.stores = stores
        self.ledger = WatchedLedger(stores.ledger)
        self._subscription = subscription
        self.folder = self.another()

    def another(self, now: datetime = NOON) -> Folder:
        """A folder on the same store, as another instance would have it."""
        return Folder(
            budgets=[budget()],
            ledger=self.ledger,
            counters=self.stores.counters,
            gate=self.stores.gate,
            bus=self.stores.bus,
            now=lambda: now,
            interval_s=0,
        )

    async def spent(self) -> int:
        return (await self.stores.counters.read(TODAY)).spent

    async def alerts(self) -> list[int]:
        """The percentages of the alerts that were published, in their order; they are gone then."""
        published: list[int] = []
        for delivery in await self._subscription.take(100):
            alert = decode(delivery.data)
            assert isinstance(alert, ThresholdCrossed)
            published.append(alert.percent)
            await self._subscription.acknowledge(delivery)
        return published


@pytest.fixture
async def fold(tmp_path: Path) -> AsyncGenerator[Fold]:
    async with open_embedded(tmp_path) as stores, open_bus_file(tmp_path) as bus_file:
        fold = Fold(stores, SqliteSubscription(bus_file, BUDGET_ALERTS))
        async with open_folder(fold.folder):
            yield fold


async def fold_all(folder: Folder, events: Sequence[Event]) -> list[BaseException | None]:
    return await asyncio.gather(*(folder.fold(event) for event in events), return_exceptions=True)


async def test_what_arrives_together_is_one_commit(fold: Fold) -> None:
    await fold_all(fold.folder, [spend(f"e-{number}", cost=3) for number in range(50)])

    assert await fold.spent() == 150
    assert len(fold.ledger.commits) <= 3


async def test_the_same_event_counts_once_however_often_it_comes(fold: Fold) -> None:
    await fold_all(fold.folder, [spend("a", cost=5), spend("a", cost=5), spend("b", cost=7)])
    await fold.folder.fold(spend("a", cost=5))

    assert await fold.spent() == 12


async def test_two_instances_that_get_the_same_event_count_it_once(fold: Fold) -> None:
    events = [spend(f"e-{number}", cost=1) for number in range(40)]
    async with open_folder(fold.another()) as other:
        await asyncio.gather(fold_all(fold.folder, events), fold_all(other, list(reversed(events))))

    assert await fold.spent() == 40


async def test_a_store_that_is_down_leaves_every_event_to_come_again(fold: Fold) -> None:
    events = [spend("a", cost=5), spend("b", cost=7)]
    fold.ledger.is_down = True
    refused = await fold_all(fold.folder, events)
    fold.ledger.is_down = False
    await fold_all(fold.folder, events)

    assert [type(error) for error in refused] == [StoreUnavailable, StoreUnavailable]
    assert await fold.spent() == 12


async def test_an_event_that_no_store_takes_leaves_the_rest_of_its_group_unharmed(fold: Fold) -> None:
    fold.ledger.chokes_on = "poison"

    outcomes = await fold_all(fold.folder, [spend("a", cost=5), spend("poison"), spend("b", cost=7)])

    assert [type(outcome) for outcome in outcomes] == [type(None), Unstorable, type(None)]
    assert await fold.spent() == 12


async def test_a_failed_completion_is_in_the_ledger_and_costs_nothing(fold: Fold) -> None:
    await fold.folder.fold(failure("f"))

    assert [event.event_id async for event in fold.ledger.replay()] == ["f"]
    assert await fold.spent() == 0


async def test_each_threshold_is_announced_when_it_is_reached_and_only_then(fold: Fold) -> None:
    await fold.folder.fold(spend("a", cost=nano_usd(4.9)))
    before = await fold.alerts()
    await fold.folder.fold(spend("b", cost=nano_usd(3.2)))
    reached = await fold.alerts()
    await fold.folder.fold(spend("c", cost=nano_usd(0.1)))

    assert (before, reached, await fold.alerts()) == ([], [50, 80], [])


async def test_a_failure_that_was_billed_counts_and_announces(fold: Fold) -> None:
    await fold.folder.fold(failure("f", cost=nano_usd(5)))

    assert (await fold.spent(), await fold.alerts()) == (nano_usd(5), [50])
    assert (await replayed(fold.stores.ledger, [budget()]))[TODAY].spent == await fold.spent()


async def test_another_instance_does_not_announce_again(fold: Fold) -> None:
    await fold.folder.fold(spend("a", cost=nano_usd(5)))
    async with open_folder(fold.another()) as other:
        await other.fold(spend("b", cost=1))

    assert await fold.alerts() == [50]


async def test_a_tick_announces_what_a_crash_left_unannounced(fold: Fold) -> None:
    await fold.stores.ledger.commit([spend("a", cost=nano_usd(9.6))], {TODAY: nano_usd(9.6)})

    await fold.folder.fold(Ticked(event_id="tick-1", time=NOON))

    assert await fold.alerts() == [50, 80, 95]


async def test_a_redelivered_event_announces_what_a_crash_left_unannounced(fold: Fold) -> None:
    event = spend("a", cost=nano_usd(5))
    await fold.stores.ledger.commit([event], {TODAY: event.cost})

    await fold.folder.fold(event)

    assert await fold.alerts() == [50]


async def test_a_late_event_counts_in_its_own_window(fold: Fold) -> None:
    await fold.folder.fold(replace(spend("late", cost=5), time=NOON - timedelta(days=1)))

    assert await fold.spent() == 0
    assert (await fold.stores.counters.read("global:2026-11-23")).spent == 5


MINE = allowance("mine", 100)


async def admitted(fold: Fold) -> int:
    return await fold.stores.gate.admitted(TODAY)


async def tick(fold: Fold, *, minutes: float) -> None:
    """A tick that many minutes after noon, by when the requests of `MINE` must be over."""
    async with open_folder(fold.another(NOON + timedelta(minutes=minutes))) as folder:
        await folder.fold(Ticked(event_id=f"tick-{minutes}", time=NOON))


async def test_a_spend_counts_in_its_allowance_too(fold: Fold) -> None:
    await fold_all(fold.folder, [spend("a", cost=5, allowance_ids=(MINE.allowance_id,)), spend("b", cost=2)])

    counters = {name: (await fold.stores.counters.read(name)).spent async for name in fold.stores.counters.names()}
    assert counters == {TODAY: 7, MINE.allowance_id: 5}
    assert {name: window.spent for name, window in (await replayed(fold.ledger, [budget()])).items()} == counters


async def test_a_spend_announces_in_the_window_that_it_was_admitted_to(fold: Fold) -> None:
    after_midnight = NOON + timedelta(hours=13)
    admitted_today = spend("a", cost=nano_usd(6), time=after_midnight, allowance_ids=(MINE.allowance_id,))

    await fold.folder.fold(admitted_today)

    assert (await fold.spent(), await fold.alerts()) == (nano_usd(6), [50])


async def test_what_a_dead_instance_left_goes_back_once_nothing_more_comes(fold: Fold) -> None:
    await fold.stores.gate.take(MINE, limit=NanoUsd(100))
    await fold.folder.fold(spend("a", cost=30, allowance_ids=(MINE.allowance_id,)))

    await tick(fold, minutes=-1)
    await tick(fold, minutes=1)
    assert await admitted(fold) == 100
    await tick(fold, minutes=3)
    await tick(fold, minutes=4)

    assert await admitted(fold) == await fold.spent() == 30


async def test_a_tick_that_overtakes_the_events_of_an_outage_gives_nothing_away(fold: Fold) -> None:
    await fold.stores.gate.take(MINE, limit=NanoUsd(100))
    await tick(fold, minutes=60)
    await fold.folder.fold(spend("a", cost=30, allowance_ids=(MINE.allowance_id,)))

    await tick(fold, minutes=62)
    assert await admitted(fold) == 100
    await tick(fold, minutes=64)
    assert await admitted(fold) == 30


async def test_a_spend_that_comes_after_all_of_that_is_taken_out_again(fold: Fold) -> None:
    await fold.stores.gate.take(MINE, limit=NanoUsd(100))
    await tick(fold, minutes=60)
    await tick(fold, minutes=63)
    assert await admitted(fold) == 0

    async with open_folder(fold.another(NOON + timedelta(minutes=64))) as folder:
        await folder.fold(spend("a", cost=30, allowance_ids=(MINE.allowance_id,)))

    assert await admitted(fold) == await fold.spent() == 30


async def test_a_spend_that_comes_after_a_crash_of_the_folder_is_taken_out_when_it_comes_again(fold: Fold) -> None:
    late = spend("a", cost=30, allowance_ids=(MINE.allowance_id,))
    await fold.stores.gate.take(MINE, limit=NanoUsd(100))
    await tick(fold, minutes=60)
    await tick(fold, minutes=63)
    await fold.stores.ledger.commit([late], increments([budget()], [late]))

    async with open_folder(fold.another(NOON + timedelta(minutes=64))) as folder:
        await folder.fold(late)

    assert await admitted(fold) == await fold.spent() == 30


async def test_a_tick_forgets_what_can_not_matter_any_more(fold: Fold) -> None:
    gate, spent_of = fold.stores.gate, allowance("a", expires_at=NOON)
    await gate.take(spent_of, limit=nano_usd(10), gate_expires_at=NOON)
    await fold.folder.fold(spend("e", cost=4, allowance_ids=(spent_of.allowance_id,)))
    await gate.give_back(spent_of.allowance_id, NanoUsd(6))

    await fold.folder.fold(Ticked(event_id="tick-1", time=NOON))

    assert (await gate.known([spent_of.allowance_id]), await gate.admitted(TODAY)) == ([], 0)
    assert {name async for name in fold.stores.counters.names()} == {TODAY}
    assert await fold.spent() == 4
