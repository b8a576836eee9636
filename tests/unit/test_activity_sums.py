"""Activity: sums of requests, by day and by whom they are for."""

from collections.abc import Iterable
from datetime import timedelta
from functools import reduce
from itertools import pairwise
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from events.activity import ALL_TIME, ZERO, Cell, Dimension, Slot, Sums, activity, cell_named, cell_of, merged
from events.budget import Budget
from events.money import NanoUsd
from events.spend import Attempt, CompletionFailed, Scopes, SpendRecorded, Usage
from events.tick import Ticked
from tests.builders import NOON, failure, spend

_NAMES = st.sampled_from([None, "a", "b/ü|\"',"])
_SCOPES = st.builds(
    Scopes,
    key_hash=_NAMES,
    user=_NAMES,
    team=_NAMES,
    end_user=_NAMES,
    tags=st.lists(st.sampled_from(["red", "blue"]), max_size=3).map(tuple),
)
_TIMES = st.integers(0, 100).map(lambda hours: NOON + timedelta(hours=hours))
_USAGES = st.builds(Usage, input_tokens=st.integers(0, 9), output_tokens=st.integers(0, 9))


def _spend(cost: int, **fields: Any) -> SpendRecorded:
    return spend(cost=cost, **fields)


def _failure(cost: int, time: Any, scopes: Scopes) -> CompletionFailed:
    return CompletionFailed(
        event_id="f",
        time=time,
        request_id="r",
        alias="gpt-4o",
        scopes=scopes,
        attempts=(Attempt(model="openai/gpt-4o", status="500", ms=1, billed=cost > 0, cost=NanoUsd(cost)),),
        latency_ms=1,
        cost=NanoUsd(cost),
    )


_COSTS = st.integers(0, 10**12)
_EVENTS = st.lists(
    st.builds(_spend, _COSTS, time=_TIMES, scopes=_SCOPES, usage=_USAGES)
    | st.builds(_failure, _COSTS, _TIMES, _SCOPES),
    max_size=20,
)


@given(_EVENTS, st.randoms(), st.lists(st.integers(0, 20), max_size=4))
def test_any_partition_in_any_order_comes_to_the_same(events: list[Any], random: Any, cuts: list[int]) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    bounds = [0, *sorted(cuts), len(events)]
    portions = [shuffled[start:end] for start, end in pairwise(bounds)]

    assert reduce(merged, map(activity, portions), {}) == activity(events)


@given(_EVENTS)
def test_every_dimension_but_tags_adds_up_to_the_total(events: list[Any]) -> None:
    sums = activity(events)
    spent = sum(event.cost for event in events)

    for dimension in set(get_args(Dimension)) - {"tag", "cell"}:
        assert _of(sums.items(), dimension, ALL_TIME) == spent
        assert _of(sums.items(), dimension) == spent
    assert _of(sums.items(), "cell") == spent
    assert sum(one.requests for slot, one in sums.items() if slot.dimension == "cell") == len(events)


def _of(sums: Iterable[tuple[Slot, Sums]], dimension: str, period: str | None = None) -> int:
    """Give the spend of a dimension, of one period or of all the days."""
    periods = (lambda found: found == period) if period else (lambda found: found != ALL_TIME)
    return sum(one.spend for slot, one in sums if slot.dimension == dimension and periods(slot.period))


@given(st.builds(Cell, key=st.text(), user=st.text(), team=st.text(), end_user=st.text(), alias=st.text()))
def test_a_cell_is_read_as_it_is_written(cell: Cell) -> None:
    assert cell_named(cell.name) == cell


def test_a_request_counts_on_its_own_utc_day() -> None:
    late = spend(time=NOON.replace(hour=23, minute=59, second=59, microsecond=999_999))

    days = {slot.period for slot in activity([late, spend(time=late.time + timedelta(microseconds=1))])}

    assert days == {"2026-11-24", "2026-11-25", ALL_TIME}


def test_a_request_counts_with_its_tokens_of_each_kind() -> None:
    usage = Usage(
        input_tokens=100, output_tokens=7, cache_read_tokens=20, cache_write_5m_tokens=3, cache_write_1h_tokens=4
    )

    sums = activity([spend(cost=5, usage=usage)])[Slot(ALL_TIME, "total", "")]

    assert sums == Sums(1, 0, NanoUsd(5), 100, 7, cache_read_tokens=20, cache_write_tokens=7)
    assert sums.tokens == 107


def test_a_request_of_two_equal_tags_counts_once_for_it() -> None:
    sums = activity([spend(cost=5, scopes=Scopes(tags=("red", "red", "blue")))])

    assert {slot.name: one.spend for slot, one in sums.items() if slot.dimension == "tag"} == {"red": 5, "blue": 5}


def test_a_failure_counts_with_what_was_billed() -> None:
    assert activity([failure(cost=3)])[Slot("2026-11-24", "model", "openai/gpt-4o")] == Sums(
        requests=1, failures=1, spend=NanoUsd(3)
    )


def test_a_failure_without_an_attempt_is_of_no_model() -> None:
    nobody_asked = CompletionFailed(
        event_id="f", time=NOON, request_id="r", alias="gpt-4o", scopes=Scopes(), attempts=(), latency_ms=1
    )

    assert cell_of(nobody_asked) == Cell(alias="gpt-4o")


def test_other_events_add_nothing() -> None:
    assert activity([Ticked(event_id="t", time=NOON), Budget(budget_id="b", max_budget=None, duration=None)]) == {}
    assert ZERO + ZERO == ZERO
