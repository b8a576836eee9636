"""Budgets: how spend adds up, and when an alert is due."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.alerts import ProjectedExceeded, ThresholdCrossed
from events.budget import (
    Budget,
    BudgetWindow,
    budget_id_of,
    due_alerts,
    due_projection,
    due_refusal,
    due_soft_budget,
    due_thresholds,
    fold,
    increments,
)
from events.money import NanoUsd, nano_usd
from events.spend import CompletionFailed, SpendRecorded
from tests.builders import NOON, TODAY, budget, failure, spend, threshold_crossed

_COSTS = {"event_id": st.uuids().map(str), "cost": st.integers(0, 10**12)}
SPENDS = st.lists(st.builds(spend, **_COSTS) | st.builds(failure, **_COSTS))


@given(SPENDS)
def test_spent_is_the_sum_of_the_costs_in_any_order(spends: list[SpendRecorded | CompletionFailed]) -> None:
    costs = sum(event.cost for event in spends)

    assert fold(BudgetWindow(), spends).spent == fold(BudgetWindow(), reversed(spends)).spent == costs


@given(SPENDS)
def test_the_counters_grow_by_what_folding_says(spends: list[SpendRecorded | CompletionFailed]) -> None:
    grown = increments([budget()], spends)

    assert grown.get(TODAY, 0) == fold(BudgetWindow(), spends).spent


def test_an_event_counts_in_the_window_of_its_own_time() -> None:
    late = spend(cost=7, time=NOON - timedelta(days=1))

    assert increments([budget()], [late, spend(cost=5)]) == {"global:2026-11-23": 7, TODAY: 5}


def test_a_spend_counts_where_it_was_admitted_and_in_its_allowances() -> None:
    """It began a second before midnight, under a budget of the day and one of its team."""
    admitted = ("global:2026-11-23|a", "team:red:2026-11|b")

    grown = increments([budget()], [spend(cost=5, allowance_ids=admitted), spend("evt-2", cost=2)])

    assert grown == {"global:2026-11-23": 5, TODAY: 2, "team:red:2026-11": 5} | dict.fromkeys(admitted, 5)


def test_an_allowance_of_a_window_of_another_length_leaves_the_spend_to_its_time() -> None:
    grown = increments([budget()], [spend(cost=5, allowance_ids=("global:2026-11|a",))])

    assert grown == {TODAY: 5, "global:2026-11": 5, "global:2026-11|a": 5}


@pytest.mark.parametrize("name", ["", "|", "global:2026-11-24", "a/b|c", "a|b|", "x" * 2000 + "|a"])
def test_what_names_no_allowance_counts_nowhere(name: str) -> None:
    assert increments([budget()], [spend(cost=5, allowance_ids=(name,))]) == {TODAY: 5}


def test_budgets_of_different_names_have_different_ids() -> None:
    names = ["red", "red/blue", "red:blue", "red|blue", "RED", "x" * 300, "x" * 301, "%72ed"]

    ids = [budget_id_of("team", name) for name in names] + [budget_id_of("team", "red", "blue")]

    assert len(set(ids)) == len(ids)


def test_a_failed_request_adds_nothing() -> None:
    assert increments([budget()], [failure()]) == {}


def test_a_failed_request_that_was_billed_counts() -> None:
    assert increments([budget()], [failure(cost=7), spend(cost=5)]) == {TODAY: 12}


def test_every_reached_threshold_is_due_once() -> None:
    state = BudgetWindow(nano_usd(9.5), frozenset({50}))

    alerts = due_thresholds(budget(), budget().window(NOON), state, NOON)

    assert [alert.percent for alert in alerts] == [80, 95]
    assert alerts[0].event_id == "global:2026-11-24:80"


def test_a_threshold_is_due_at_its_exact_amount_and_not_a_nano_dollar_below() -> None:
    window = budget().window(NOON)

    def due_at(spent: int) -> list[int]:
        return [alert.percent for alert in due_thresholds(budget(), window, BudgetWindow(NanoUsd(spent)), NOON)]

    assert due_at(5 * 10**9) == [50]
    assert due_at(5 * 10**9 - 1) == []


def test_a_budget_of_nothing_has_no_thresholds() -> None:
    nothing = budget(max_budget=0)

    assert due_alerts(nothing, nothing.window(NOON), BudgetWindow(), NOON) == []
    assert due_alerts(nothing, nothing.window(NOON), BudgetWindow(NanoUsd(5)), NOON) == []


@pytest.mark.parametrize("duration", ["30s", "12h", "1d", "2w", "1mo"])
def test_a_budget_knows_its_own_counters(duration: str) -> None:
    own = budget(duration=duration)

    assert own.has_counter(own.counter(own.window(NOON)))


@pytest.mark.parametrize("name", ["team:2026-11-24", "global:2026-11", "global:2026-11-24T12:00:00Z", "global:x", ""])
def test_a_counter_of_another_budget_or_duration_is_not_its_own(name: str) -> None:
    assert not budget(duration="1d").has_counter(name)


def test_an_announced_threshold_is_part_of_the_state() -> None:
    assert fold(BudgetWindow(), [threshold_crossed(80)]).crossed == {80}


def test_a_soft_budget_is_due_at_its_exact_amount_and_once() -> None:
    soft = replace(budget(), soft_budget=NanoUsd(7), max_budget=None)
    window = soft.window(NOON)
    (alert,) = due_soft_budget(soft, window, BudgetWindow(NanoUsd(7)), NOON)

    assert (alert.event_id, alert.soft_budget, alert.max_budget) == (f"{TODAY}:soft", 7, None)
    assert due_soft_budget(soft, window, BudgetWindow(NanoUsd(6)), NOON) == []
    assert due_soft_budget(soft, window, fold(BudgetWindow(NanoUsd(9)), [alert]), NOON) == []


def projected(spent: int, limit: int, elapsed: timedelta, *, duration: str | None = "1d") -> list[ProjectedExceeded]:
    """What is projected of a window that began at midnight."""
    midnight = NOON - timedelta(hours=12)
    of_some = Budget(budget_id="team:red", max_budget=NanoUsd(limit), duration=duration)
    return due_projection(of_some, of_some.window(NOON), BudgetWindow(NanoUsd(spent)), midnight + elapsed)


_LIMITS = st.integers(1, 10**15)
_ELAPSED = st.timedeltas(timedelta(), timedelta(days=1, hours=1))


@given(spent=_LIMITS, limit=_LIMITS, elapsed=_ELAPSED)
def test_a_projection_is_what_a_straight_line_says(spent: int, limit: int, elapsed: timedelta) -> None:
    day = timedelta(days=1)
    part = Fraction(elapsed // timedelta(microseconds=1), day // timedelta(microseconds=1))

    alerts = projected(spent, limit, elapsed)

    assert bool(alerts) == (Fraction(1, 10) <= part < 1 and spent < limit < spent / (part or 1))
    for alert in alerts:
        assert 0 <= spent / part - alert.projected < 1
        assert alert.time <= alert.exceeded_at < alert.window_ends_at


@given(spent=_LIMITS, limit=_LIMITS, elapsed=_ELAPSED)
def test_what_is_spent_later_is_never_projected_higher(spent: int, limit: int, elapsed: timedelta) -> None:
    for alert in projected(spent, limit, elapsed):
        for later in projected(spent, limit, elapsed + timedelta(hours=1)):
            assert later.projected <= alert.projected


@pytest.mark.parametrize("duration", [None, "30s", "59m"])
def test_endless_and_short_windows_are_not_projected(duration: str | None) -> None:
    elapsed = timedelta(hours=12, seconds=20)

    assert projected(9, 10, elapsed, duration=duration) == []


def test_a_projection_is_held_against_the_soft_budget_where_there_is_one() -> None:
    both = replace(budget(max_budget=100), soft_budget=nano_usd(10))
    (alert,) = due_projection(both, both.window(NOON), BudgetWindow(nano_usd(6)), NOON)

    assert (alert.event_id, alert.projected) == (f"{TODAY}:projected", nano_usd(12))
    assert alert.exceeded_at == NOON + timedelta(hours=8)
    assert due_alerts(both, both.window(NOON), fold(BudgetWindow(nano_usd(6)), [alert]), NOON) == []


@pytest.mark.parametrize(
    "name", ["key:a:gpt-4o:2026-11-24", "key:a:0001-01-01", "key:a:0001-01-01T00:00:00Z", "key:ab:all"]
)
def test_a_counter_of_a_model_or_of_no_time_is_none_of_a_key(name: str) -> None:
    anchored = Budget(budget_id="key:a", max_budget=None, duration="3d", anchor=NOON)

    assert anchored.window_named(name) is None


def refusal(spent: float, max_budget: float, crossed: frozenset[int] = frozenset()) -> ThresholdCrossed | None:
    of = budget(max_budget=max_budget)
    return due_refusal(of, of.window(NOON), BudgetWindow(nano_usd(spent), crossed), NOON)


def test_a_budget_that_refuses_is_told_of_as_its_last_threshold() -> None:
    *_, reached = due_thresholds(budget(), budget().window(NOON), BudgetWindow(nano_usd(10)), NOON)

    assert refusal(8.5, 10) == replace(reached, spent=nano_usd(8.5))


def test_a_budget_that_refuses_is_told_of_once() -> None:
    alert = refusal(8.5, 10)

    assert alert is not None
    crossed = fold(BudgetWindow(), [alert]).crossed
    assert refusal(8.5, 10, crossed=crossed) is None
    assert refusal(10, 10, crossed=crossed) is None


def test_what_is_too_large_for_a_budget_does_not_make_it_spent() -> None:
    assert refusal(4.99, 10) is None
    assert refusal(5, 10) is not None


def test_a_budget_of_nothing_or_without_thresholds_refuses_in_silence() -> None:
    silent = budget(thresholds=())

    assert refusal(0, 0) is None
    assert due_refusal(silent, silent.window(NOON), BudgetWindow(nano_usd(10)), NOON) is None
