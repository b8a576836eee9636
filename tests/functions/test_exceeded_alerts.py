"""What a budget refuses is told of, with a real store and bus: by whichever instance refuses, and once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from events.alerts import Holder, ThresholdCrossed
from events.budget import increments
from events.codec import Event, decode
from events.money import nano_usd
from functions.adapters.embedded.bus import SqliteSubscription
from functions.adapters.embedded.stores import open_bus_file, open_embedded
from functions.adapters.stores import Stores
from functions.gateway.admission import WholeAdmission, open_admission
from functions.gateway.allowances import AllowanceAdmission, Terms
from functions.gateway.errors import BudgetExceeded, StoreUnavailable
from functions.gateway.exceeding import ExceededAlerts
from functions.gateway.limits import Defaults, limits_of
from functions.gateway.ports import BUDGET_ALERTS, Parties
from functions.gateway.rates import RateAdmission
from tests.builders import NOON, UNCAPPED, allowance, chat_request, deployment, key, spend

ASKED = chat_request(max_tokens=2_000)  # with $0.000010 a token: $0.02
CI = key("ci", key_alias="ci_nightly", max_budget=nano_usd(0.1))
COUNTER = f"key:{CI.key_id}:all"
LIMITS = limits_of(Parties(key=CI), "gpt-4o", Defaults(thresholds=(50, 100)))


@dataclass
class Refusing:
    """Instances on one store whose budgets refuse, and the alerts that they have published."""

    stores: Stores
    alerts: SqliteSubscription
    is_down: bool = False
    ids: "count[int]" = field(default_factory=count)

    def instance(self) -> AbstractAsyncContextManager[WholeAdmission]:
        return open_admission(self._admission)

    def _admission(self, tasks: asyncio.TaskGroup) -> WholeAdmission:
        gate, counters, clock = self.stores.gate, self.stores.counters, asyncio.get_running_loop().time
        budgets = AllowanceAdmission(
            UNCAPPED,
            gate,
            counters,
            tasks,
            now=lambda: NOON,
            clock=clock,
            new_id=lambda: str(next(self.ids)),
            exceeded_status=429,
            terms=Terms(patience_s=0.05, lowers_max_tokens=False),
        )
        rates = RateAdmission(gate, tasks, now=lambda: NOON, clock=clock, new_id=str)
        exceeded = ExceededAlerts(counters, self, tasks, now=lambda: NOON)
        return WholeAdmission(rates, budgets, exceeded.notice)

    async def publish(self, topic: str, event: Event) -> None:
        if self.is_down:
            raise StoreUnavailable("the bus is down")
        await self.stores.bus.publish(topic, event)

    async def dead_letter(self, topic: str, data: bytes, *, reason: str) -> None:
        raise AssertionError("nothing of this is dead")

    async def spent(self, usd: float) -> None:
        """So much was spent with the key."""
        taken = allowance(granted=nano_usd(usd), counter=COUNTER)
        await self.stores.gate.take(taken, limit=nano_usd(0.1))
        event = spend(cost=nano_usd(usd), allowance_ids=(taken.allowance_id,))
        await self.stores.ledger.commit([event], increments([UNCAPPED], [event]))

    async def published(self) -> list[Event]:
        """The alerts that were published."""
        return [decode(delivery.data) for delivery in await self.alerts.take(100)]


@pytest.fixture
async def refusing(tmp_path: Path) -> AsyncGenerator[Refusing]:
    async with open_embedded(tmp_path) as stores, open_bus_file(tmp_path) as bus_file:
        yield Refusing(stores, SqliteSubscription(bus_file, BUDGET_ALERTS))


async def refused(admission: WholeAdmission) -> BudgetExceeded:
    """The refusal that a request ends with."""
    with pytest.raises(BudgetExceeded) as refusal:
        async with admission.hold(ASKED, [deployment()], LIMITS):
            pass
    return refusal.value


async def test_a_budget_that_can_pay_for_no_request_is_told_of_before_all_of_it_is_spent(refusing: Refusing) -> None:
    await refusing.spent(0.085)
    async with refusing.instance() as one:
        await refused(one)

    assert await refusing.published() == [
        ThresholdCrossed(
            event_id=f"{COUNTER}:100",
            time=NOON,
            budget_id=f"key:{CI.key_id}",
            window="all",
            window_ends_at=None,
            percent=100,
            spent=nano_usd(0.085),
            max_budget=nano_usd(0.1),
            holder=Holder(kind="key", key_hash=CI.key_hash, key_name=CI.key_name, key_alias="ci_nightly"),
        )
    ]


async def test_it_is_told_of_once_by_all_instances(refusing: Refusing) -> None:
    await refusing.spent(0.085)
    async with refusing.instance() as one:
        await refused(one)
        await refused(one)
    async with refusing.instance() as another:
        await refused(another)

    assert len(await refusing.published()) == 1
    assert (await refusing.stores.counters.read(COUNTER)).crossed == {100}


async def test_what_could_not_be_told_is_told_at_the_next_refusal(refusing: Refusing) -> None:
    await refusing.spent(0.085)
    refusing.is_down = True
    async with refusing.instance() as one:
        await refused(one)
        await refused(one)
        refusing.is_down = False
        async with asyncio.timeout(5):
            while (await refusing.stores.counters.read(COUNTER)).crossed != {100}:
                await refused(one)

    assert len(await refusing.published()) == 1


async def test_a_request_that_is_too_large_for_a_budget_tells_nobody(refusing: Refusing) -> None:
    await refusing.spent(0.02)
    large = chat_request(max_tokens=20_000)
    async with refusing.instance() as one:
        with pytest.raises(BudgetExceeded):
            async with one.hold(large, [deployment()], LIMITS):
                pass

    assert await refusing.published() == []
