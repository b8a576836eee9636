"""Admission by the folded spend, as one instance sees it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

import pytest

from events.budget import BudgetWindow
from events.money import NanoUsd, nano_usd
from functions.gateway.admission import WindowAdmission
from functions.gateway.errors import BudgetExceeded, StoreUnavailable
from tests.builders import NOON, budget, chat_request, deployment


class Readings:
    """Counters that say what the test sets, slowly or not at all where it wants that."""

    def __init__(self) -> None:
        self.spent = nano_usd(0)
        self.reads = 0
        self.is_down = False

    async def read(self, counter: str) -> BudgetWindow:
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_down:
            raise StoreUnavailable("the store is down")
        return BudgetWindow(self.spent)

    async def mark_crossed(self, counter: str, percents: Sequence[int]) -> None:
        raise AssertionError("admission only reads")

    async def set_spent(self, counter: str, spent: NanoUsd) -> None:
        raise AssertionError("admission only reads")

    def names(self) -> AsyncIterator[str]:
        raise AssertionError("admission only reads")


class Gate:
    """Admission to a budget of $10 with a clock that the test turns."""

    def __init__(self) -> None:
        self.readings = Readings()
        self.now: datetime = NOON
        self.seconds = 0.0
        self.admission = WindowAdmission(
            budget(), self.readings, now=lambda: self.now, clock=lambda: self.seconds, exceeded_status=429
        )

    async def request(self, cost: float = 0) -> None:
        async with self.admission.hold(chat_request(), [deployment()]) as hold:
            hold.settle(nano_usd(cost))

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.now += timedelta(seconds=seconds)


async def test_a_request_under_the_budget_is_let_through() -> None:
    gate = Gate()
    gate.readings.spent = nano_usd(9.999)

    await gate.request()


async def test_over_the_budget_a_request_is_refused() -> None:
    gate = Gate()
    gate.readings.spent = nano_usd(10)

    with pytest.raises(BudgetExceeded):
        await gate.request()


async def test_the_counter_is_read_once_a_second() -> None:
    gate = Gate()
    for _ in range(50):
        await gate.request(0.01)
    gate.wait(1.5)
    await gate.request()

    assert gate.readings.reads == 2


async def test_what_the_instance_spends_counts_before_it_is_folded() -> None:
    gate = Gate()
    for _ in range(4):
        await gate.request(3)
        gate.wait(2)  # each time the counter, at 0 as nothing is folded, is read again

    with pytest.raises(BudgetExceeded):
        await gate.request()


async def test_what_others_spend_counts_once_it_is_folded() -> None:
    gate = Gate()
    await gate.request(1)
    gate.readings.spent = nano_usd(12)
    gate.wait(2)

    with pytest.raises(BudgetExceeded):
        await gate.request()


async def test_a_new_window_begins_at_nothing() -> None:
    gate = Gate()
    await gate.request(11)
    gate.now += timedelta(days=1)

    await gate.request()


async def test_what_an_old_window_still_costs_is_not_counted_in_the_new_one() -> None:
    gate = Gate()
    async with gate.admission.hold(chat_request(), [deployment()]) as old:
        gate.now += timedelta(days=1)
        await gate.request()
        old.settle(nano_usd(11))

    await gate.request()


async def test_while_the_store_is_down_everyone_is_refused_after_one_read() -> None:
    gate = Gate()
    gate.readings.is_down = True

    outcomes = await asyncio.gather(*(gate.request() for _ in range(20)), return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert gate.readings.reads == 1


async def test_a_store_that_is_back_is_asked_again_a_second_later() -> None:
    gate = Gate()
    gate.readings.is_down = True
    with pytest.raises(StoreUnavailable):
        await gate.request()
    gate.readings.is_down = False
    gate.wait(1.5)

    await gate.request()
