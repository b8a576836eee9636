"""Folding, with a real store and bus: grouped, exactly once, alerts when they are due."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from events.accounts import User
from events.alerts import Holder, KeyExpiring, ThresholdCrossed
from events.allowance import Allowance
from events.budget import BudgetWindow, budget_id_of, increments
from events.codec import Event, UndecodableEvent, decode
from events.keys import KeyRegenerated, ModelBudget, event_id_of
from events.money import NanoUsd, nano_usd
from events.spend import Scopes, SpendRecorded
from events.tick import Ticked
from functions.adapters.embedded.bus import SqliteSubscription
from functions.adapters.embedded.stores import open_bus_file, open_embedded
from functions.adapters.stores import Stores
from functions.gateway.announcing import Announcer
from functions.gateway.errors import StoreUnavailable, Unstorable
from functions.gateway.folding import Folder, open_folder
from functions.gateway.limits import Defaults
from functions.gateway.ports import BUDGET_ALERTS, Bus, Counters, Gate, Ledger
from functions.gateway.remembered_holders import RememberedHolders
from functions.gateway.replaying import replayed
from tests.builders import NOON, TODAY, allowance, budget, failure, key, key_created, key_updated, spend
from tests.functions.stand_ins import FewAccounts, WatchedKeys


class WatchedLedger:
    """A real ledger that counts its commits, may be down, and may choke on one event."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.commits: list[int] = []
        self.is_down = False
        self.chokes_on: str | None = None
        self.known = ledger.known
        self.replay = ledger.replay

    async def commit(self, events: Sequence[Event], increments: Mapping[str, int]) -> dict[str, int]:
        if self.is_down:
            raise StoreUnavailable("the store is down")
        if self.chokes_on in {event.event_id for event in events}:
            raise Unstorable("no store can take this")
        totals = await self._ledger.commit(events, increments)
        self.commits.append(len(events))
        return totals


class WatchedCounters:
    """Real counters that say how often they were read."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.readings = 0
        self.mark_announced = counters.mark_announced
        self.set_spent = counters.set_spent
        self.all = counters.all

    async def read(self, counter: str) -> BudgetWindow:
        self.readings += 1
        return await self._counters.read(counter)


class WatchedBus:
    """A real bus that may be down."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.is_down = False
        self.dead_letter = bus.dead_letter

    async def publish(self, topic: str, event: Event) -> None:
        if self.is_down:
            raise StoreUnavailable("the bus is down")
        await self._bus.publish(topic, event)


class Fold:
    """A folder with its store, and the alerts that it has published."""

    def __init__(self, stores: Stores, subscription: SqliteSubscription) -> None:
        self.stores = stores
        self.ledger = WatchedLedger(stores.ledger)
        self.counters = WatchedCounters(stores.counters)
        self.bus = WatchedBus(stores.bus)
        self.keys = WatchedKeys(stores.keys)
        self.accounts = FewAccounts()
        self.clock = 0.0
        self._subscription = subscription
        self.folder = self.another()

    def another(self, now: datetime = NOON, gate: Gate | None = None) -> Folder:
        """A folder on the same store, as another instance would have it."""
        return Folder(
            budgets=[budget()],
            ledger=self.ledger,
            counters=self.counters,
            gate=gate or self.stores.gate,
            announcer=Announcer(
                budgets=[budget()],
                defaults=Defaults(thresholds=(50, 100)),
                keys=self.keys,
                holders=RememberedHolders(self.keys, self.accounts, clock=lambda: self.clock),
                counters=self.counters,
                bus=self.bus,
            ),
            now=lambda: now,
            interval_s=0,
        )

    async def spent(self) -> int:
        return (await self.stores.counters.read(TODAY)).spent

    async def published(self) -> list[Event]:
        """The alerts that were published, in their order; they are gone then."""
        deliveries = await self._subscription.take(100)
        for delivery in deliveries:
            await self._subscription.acknowledge(delivery)
        return [decode(delivery.data) for delivery in deliveries]

    async def alerts(self) -> list[int]:
        """The percentages of the thresholds that were announced."""
        return [alert.percent for alert in await self.published() if isinstance(alert, ThresholdCrossed)]

    async def alert_ids(self) -> list[str]:
        return [alert.event_id for alert in await self.published()]


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
    assert (await replayed(fold.ledger.replay(), [budget()])).counters[TODAY] == await fold.spent()


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

    counters = {name: spent async for name, spent in fold.stores.counters.all()}
    assert counters == {TODAY: 7, MINE.allowance_id: 5}
    assert (await replayed(fold.ledger.replay(), [budget()])).counters == counters


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


CI = key("a", key_alias="ci", user_id="ada", team_id="red", max_budget=nano_usd(10), soft_budget=nano_usd(9))
CI_COUNTER = f"key:{CI.key_id}:all"
ADA = User(
    user_id="ada",
    version=1,
    user_email="ada@example.com",
    max_budget=nano_usd(4),
    created_at=NOON,
    created_by="master",
    updated_at=NOON,
    updated_by="master",
)


def spend_of_ci(event_id: str, cost: float, *counters: str, alias: str = "gpt-4o") -> SpendRecorded:
    """A spend with that key, admitted to some budgets."""
    scopes = Scopes(key_hash=CI.key_id, user="ada", team="red", end_user="bob")
    ids = tuple(f"{counter}|a" for counter in counters or (CI_COUNTER,))
    return spend(event_id, cost=nano_usd(cost), scopes=scopes, allowance_ids=ids, alias=alias)


@pytest.fixture
async def of_ci(fold: Fold) -> Fold:
    await fold.stores.keys.commit([key_created(CI)])
    fold.accounts.put(ADA)
    return fold


async def test_the_threshold_of_a_key_is_announced_once_with_whose_it_is(of_ci: Fold) -> None:
    await of_ci.folder.fold(spend_of_ci("a", 2.4))
    await of_ci.folder.fold(spend_of_ci("b", 2.6))
    await of_ci.folder.fold(spend_of_ci("c", 0.1))

    of_all, (alert,) = partition(await of_ci.published())
    assert [alert.event_id for alert in of_all] == [f"{TODAY}:50"]
    assert isinstance(alert, ThresholdCrossed)
    assert (alert.event_id, alert.spent) == (f"{CI_COUNTER}:50", nano_usd(5))
    assert alert.holder == Holder(
        kind="key",
        key_hash=CI.key_hash,
        key_name=CI.key_name,
        key_alias="ci",
        user_id="ada",
        user_email="ada@example.com",
        team_id="red",
    )


def partition(alerts: Sequence[Event]) -> tuple[list[Event], list[Event]]:
    """Those of the budget of all, and the others."""
    is_of_all = [alert.event_id.startswith("global") for alert in alerts]
    pairs = list(zip(alerts, is_of_all, strict=True))
    return [alert for alert, of_all in pairs if of_all], [alert for alert, of_all in pairs if not of_all]


async def ids_of_some(fold: Fold) -> list[str]:
    return [alert.event_id for alert in partition(await fold.published())[1]]


async def test_a_soft_budget_is_announced_once(of_ci: Fold) -> None:
    await of_ci.folder.fold(spend_of_ci("a", 9))
    await of_ci.folder.fold(spend_of_ci("b", 0.5))

    assert await ids_of_some(of_ci) == [f"{CI_COUNTER}:50", f"{CI_COUNTER}:soft"]


async def test_a_replaced_key_goes_on_with_its_marks(of_ci: Fold) -> None:
    await of_ci.folder.fold(spend_of_ci("a", 5))
    renewed = replace(CI, key_hash=key("b").key_hash, version=2)
    await of_ci.stores.keys.commit(
        [KeyRegenerated(event_id=event_id_of(CI.key_id, 2), time=NOON, actor="master", before=CI, after=renewed)]
    )
    of_ci.clock += 60
    await of_ci.folder.fold(spend_of_ci("b", 5))

    alerts = partition(await of_ci.published())[1]
    assert [alert.event_id for alert in alerts] == [f"{CI_COUNTER}:{mark}" for mark in (50, 100, "soft")]
    assert [alert.holder.key_hash for alert in alerts if isinstance(alert, ThresholdCrossed) and alert.holder] == [
        CI.key_hash,
        renewed.key_hash,
    ]


async def test_a_budget_of_a_user_and_one_of_an_end_user_without_a_budget(of_ci: Fold) -> None:
    await of_ci.folder.fold(spend_of_ci("a", 2, "user:ada:all", "team:red:all", "end_user:bob:all"))

    assert await ids_of_some(of_ci) == ["user:ada:all:50"]


async def test_a_raised_budget_announces_no_threshold_again(of_ci: Fold) -> None:
    await of_ci.folder.fold(spend_of_ci("a", 6))
    await of_ci.stores.keys.commit([key_updated(CI, max_budget=nano_usd(100))])
    of_ci.clock += 60
    await of_ci.folder.fold(spend_of_ci("b", 50))
    await of_ci.folder.fold(spend_of_ci("c", 50))

    assert await ids_of_some(of_ci) == [f"{CI_COUNTER}:{mark}" for mark in (50, "soft", 100)]


async def test_another_instance_announces_nothing_of_a_key_again(of_ci: Fold) -> None:
    await of_ci.folder.fold(spend_of_ci("a", 9))
    async with open_folder(of_ci.another()) as other:
        await other.fold(spend_of_ci("b", 0.1))

    assert await ids_of_some(of_ci) == [f"{CI_COUNTER}:50", f"{CI_COUNTER}:soft"]


async def test_an_event_whose_key_can_not_be_read_is_counted_and_comes_again_for_its_alerts(of_ci: Fold) -> None:
    of_ci.keys.failure = StoreUnavailable("the store is down")
    outcomes = await fold_all(of_ci.folder, [spend_of_ci("a", 6), spend("b", cost=nano_usd(1))])
    of_ci.keys.failure = None

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, type(None)]
    assert await of_ci.spent() == nano_usd(7)
    assert await ids_of_some(of_ci) == []
    async with open_folder(of_ci.another()) as other:
        await other.fold(spend_of_ci("a", 6))
    assert await ids_of_some(of_ci) == [f"{CI_COUNTER}:50"]
    assert await of_ci.spent() == nano_usd(7)


async def test_an_alert_that_the_bus_did_not_take_is_published_with_the_next_event(of_ci: Fold) -> None:
    of_ci.bus.is_down = True
    refused = await fold_all(of_ci.folder, [spend_of_ci("a", 4.9), spend_of_ci("b", 0.2)])
    of_ci.bus.is_down = False
    await of_ci.folder.fold(spend_of_ci("c", 0.1))

    assert [type(error) for error in refused] == [StoreUnavailable, StoreUnavailable]
    assert await of_ci.alert_ids() == [f"{TODAY}:50", f"{CI_COUNTER}:50"]


async def test_an_alert_of_a_key_that_the_bus_did_not_take_is_published_with_the_next_event(of_ci: Fold) -> None:
    small = key_updated(CI, max_budget=nano_usd(1))
    await of_ci.stores.keys.commit([small])
    of_ci.bus.is_down = True
    refused = await fold_all(of_ci.folder, [spend_of_ci("a", 0.5), spend("b", cost=1)])
    of_ci.bus.is_down = False
    await of_ci.folder.fold(spend_of_ci("c", 0.1))

    assert [type(error) for error in refused] == [StoreUnavailable, type(None)]
    assert await of_ci.alert_ids() == [f"{CI_COUNTER}:50"]


async def test_a_key_that_never_can_be_read_holds_up_no_event(of_ci: Fold) -> None:
    of_ci.keys.failure = UndecodableEvent("key.version is missing")

    await of_ci.folder.fold(spend_of_ci("a", 6))

    assert await of_ci.spent() == nano_usd(6)


async def test_where_nothing_is_new_nothing_is_read(of_ci: Fold) -> None:
    await of_ci.folder.fold(spend_of_ci("a", 6))
    keys, counters = of_ci.keys.readings, of_ci.counters.readings
    await fold_all(of_ci.folder, [spend_of_ci(f"b-{number}", 0.01) for number in range(50)])

    assert (of_ci.keys.readings, of_ci.counters.readings) == (keys, counters)


async def test_a_key_is_read_once_for_many_events_and_again_after_some_seconds(of_ci: Fold) -> None:
    await fold_all(of_ci.folder, [spend_of_ci(f"a-{number}", 0.01) for number in range(50)])
    first = of_ci.keys.readings
    of_ci.clock += 60
    await of_ci.folder.fold(spend_of_ci("b", 0.01))

    assert (first, of_ci.keys.readings) == (1, 2)


async def test_a_spend_without_budgets_of_its_own_asks_for_no_key(fold: Fold) -> None:
    await fold.folder.fold(spend("a", cost=5, scopes=Scopes(key_hash=CI.key_id), allowance_ids=(MINE.allowance_id,)))

    assert fold.keys.readings == 0


async def test_a_budget_for_a_model_tells_which(fold: Fold) -> None:
    of_gemini = ModelBudget(model="gemini-*", max_budget=nano_usd(1))
    await fold.stores.keys.commit([key_created(replace(CI, model_max_budget=(of_gemini,)))])
    counter = f"{budget_id_of('key', CI.key_id, 'gemini-*')}:all"

    await fold.folder.fold(spend_of_ci("a", 0.5, counter, alias="gemini-2.5-pro"))

    (alert,) = partition(await fold.published())[1]
    assert isinstance(alert, ThresholdCrossed)
    assert (alert.event_id, alert.holder and alert.holder.model) == (f"{counter}:50", "gemini-*")


async def test_a_projection_is_announced_of_a_key_and_never_of_all_together(of_ci: Fold) -> None:
    await of_ci.stores.keys.commit([key_updated(CI, budget_duration="1d")])
    await of_ci.folder.fold(spend_of_ci("a", 4.6, f"key:{CI.key_id}:2026-11-24"))
    await of_ci.folder.fold(spend("b", cost=nano_usd(3)))

    assert await of_ci.alert_ids() == [f"key:{CI.key_id}:2026-11-24:projected", f"{TODAY}:50"]


async def test_a_tick_tells_once_of_a_key_that_expires_soon(fold: Fold) -> None:
    expiring = replace(CI, created_at=NOON - timedelta(days=30), expires_at=NOON + timedelta(hours=20))
    await fold.stores.keys.commit([key_created(expiring)])
    fold.accounts.put(ADA)

    await fold.folder.fold(Ticked(event_id="tick-1", time=NOON))
    await fold.folder.fold(Ticked(event_id="tick-2", time=NOON))

    (alert,) = await fold.published()
    assert isinstance(alert, KeyExpiring)
    assert alert.event_id == f"key:{CI.key_id}:expiring:1:2026-11-25T08:00:00Z"
    assert (alert.days, alert.holder.key_alias, alert.holder.user_email) == (1, "ci", "ada@example.com")


async def test_many_keys_that_expire_are_told_of_over_several_ticks(fold: Fold) -> None:
    made: dict[str, Any] = {"created_at": NOON - timedelta(days=30), "expires_at": NOON + timedelta(hours=20)}
    await fold.stores.keys.commit([key_created(key(f"k{number}", **made)) for number in range(50)])

    for number in range(4):
        await fold.folder.fold(Ticked(event_id=f"tick-{number}", time=NOON))

    assert len(set(await fold.alert_ids())) == 50


async def test_a_tick_forgets_what_can_not_matter_any_more(fold: Fold) -> None:
    gate, spent_of = fold.stores.gate, allowance("a", expires_at=NOON)
    await gate.take(spent_of, limit=nano_usd(10), gate_expires_at=NOON)
    await fold.folder.fold(spend("e", cost=4, allowance_ids=(spent_of.allowance_id,)))
    await gate.give_back(spent_of.allowance_id, NanoUsd(6))

    await fold.folder.fold(Ticked(event_id="tick-1", time=NOON))

    assert (await gate.known([spent_of.allowance_id]), await gate.admitted(TODAY)) == ([], 0)
    assert {name async for name, _ in fold.stores.counters.all()} == {TODAY}
    assert await fold.spent() == 4


async def test_strangers_are_several_commits_and_one_that_no_store_takes_costs_few_more(fold: Fold) -> None:
    events = [spend(f"e-{number}", cost=1, scopes=Scopes(key_hash=f"k-{number}")) for number in range(200)]
    fold.ledger.chokes_on = "e-77"

    outcomes = await fold_all(fold.folder, events)

    assert [number for number, outcome in enumerate(outcomes) if outcome] == [77]
    assert await fold.spent() == 199
    assert 2 <= len(fold.ledger.commits) <= 20


class BrokenGate:
    """A real gate whose sweep waits, and then fails."""

    def __init__(self, gate: Gate) -> None:
        self.take = gate.take
        self.give_back = gate.give_back
        self.admitted = gate.admitted
        self.known = gate.known
        self.amend = gate.amend
        self.unsettled = gate.unsettled
        self.sweeps = 0
        self.may_sweep = asyncio.Event()

    async def sweep(self, now: datetime, *, limit: int) -> int:
        self.sweeps += 1
        await self.may_sweep.wait()
        raise StoreUnavailable("the store is down")


@pytest.fixture
def gate(fold: Fold) -> BrokenGate:
    return BrokenGate(fold.stores.gate)


def tick_number(number: int) -> Ticked:
    return Ticked(event_id=f"tick-{number}", time=NOON)


async def test_nobody_waits_for_the_housekeeping_of_a_tick(fold: Fold, gate: BrokenGate) -> None:
    async with open_folder(fold.another(gate=gate)) as folder, asyncio.TaskGroup() as tasks:
        ticking = tasks.create_task(folder.fold(tick_number(1)))
        await folder.fold(spend("a", cost=nano_usd(5)))
        await folder.fold(tick_number(2))
        announced = await fold.alerts()
        assert not ticking.done()
        gate.may_sweep.set()

    assert (announced, await fold.spent(), gate.sweeps) == ([50], nano_usd(5), 1)


async def test_a_tick_whose_housekeeping_fails_announces_all_the_same(
    fold: Fold, gate: BrokenGate, caplog: pytest.LogCaptureFixture
) -> None:
    await fold.stores.ledger.commit([spend("a", cost=nano_usd(9.6))], {TODAY: nano_usd(9.6)})
    gate.may_sweep.set()
    async with open_folder(fold.another(gate=gate)) as folder:
        await folder.fold(tick_number(1))
        await folder.fold(tick_number(2))

    assert (await fold.alerts(), gate.sweeps) == ([50, 80, 95], 2)
    assert "sweeping allowances failed" in caplog.text


async def test_a_late_spend_whose_allowances_can_not_be_looked_at_is_announced_and_comes_again(fold: Fold) -> None:
    async def down(allowance_ids: Sequence[str]) -> Sequence[Allowance]:
        raise StoreUnavailable("the store is down")

    gate = BrokenGate(fold.stores.gate)
    gate.known = down
    late = spend("a", cost=nano_usd(5), allowance_ids=(MINE.allowance_id,))
    now = NOON + timedelta(minutes=64)
    async with open_folder(fold.another(now, gate=gate)) as folder:
        outcomes = await fold_all(folder, [late, spend("b", cost=1, time=now)])

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, type(None)]
    assert (await fold.alerts(), await fold.spent()) == ([50], nano_usd(5) + 1)
