"""The order in which the deployments of a group are asked."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.gateway.health import Fleet
from functions.gateway.policy import RoutingPolicy, Strategy
from functions.gateway.ports import Deployment
from functions.gateway.strategies import ordered
from tests.builders import deployment, model

A, B, C = (deployment(model_id=model_id) for model_id in "abc")
STRATEGIES: Sequence[Strategy] = get_args(Strategy)
POLICY = RoutingPolicy()


def order(
    strategy: Strategy,
    group: Sequence[Deployment],
    fleet: Fleet | None = None,
    policy: RoutingPolicy = POLICY,
    *,
    now: float = 0,
    is_stream: bool = False,
    random: Callable[[], float] | None = None,
) -> str:
    """The ids, in order."""
    chain = ordered(
        strategy,
        group,
        fleet or Fleet(),
        policy,
        now=now,
        is_stream=is_stream,
        random=random or Random(1).random,
    )
    return "".join(one.model_id for one in chain)


def orders(strategy: Strategy, group: Sequence[Deployment], fleet: Fleet | None = None, **given: float) -> Counter[str]:
    """How often each order comes in a thousand."""
    random = Random(7).random
    policy = replace(POLICY, **given)
    return Counter(order(strategy, group, fleet, policy, random=random) for _ in range(1000))


def answer(fleet: Fleet, one: Deployment, seconds: float, *, output_tokens: int = 10, now: float = 0) -> None:
    fleet.of(one).begin(now).succeeded(now, is_stream=False, seconds=seconds, output_tokens=output_tokens)


def stream(fleet: Fleet, one: Deployment, seconds: float, *, now: float = 0) -> None:
    fleet.of(one).begin(now).succeeded(now, is_stream=True, seconds=seconds)


# --- every strategy --------------------------------------------------------------------------------

FIGURES = st.none() | st.integers(0, 3)
DEPLOYMENTS = st.lists(st.tuples(FIGURES, FIGURES, FIGURES, st.integers(0, 2), FIGURES, FIGURES), max_size=6)


@given(st.sampled_from(STRATEGIES), DEPLOYMENTS, st.booleans(), st.randoms(use_true_random=False))
def test_everyone_is_asked_once_by_fullness_then_order(
    strategy: Strategy, drawn: list[tuple[int | None, ...]], is_stream: bool, random: Random
) -> None:
    fleet = Fleet()
    group: list[Deployment] = []
    for number, (weight, rpm, tpm, place, limit, seconds) in enumerate(drawn):
        one = deployment(
            model_id=str(number), weight=weight, rpm=rpm, tpm=tpm, order=place, max_parallel_requests=limit
        )
        group.append(one)
        if seconds is not None:
            answer(fleet, one, seconds)
            stream(fleet, one, seconds)

    chain = ordered(strategy, group, fleet, POLICY, now=0, is_stream=is_stream, random=random.random)

    assert sorted(one.model_id for one in chain) == [one.model_id for one in group]
    tiers = [(fleet.of(one).is_full(0), one.order) for one in chain]
    assert tiers == sorted(tiers)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_group_of_one_costs_no_draw(strategy: Strategy) -> None:
    def refuse() -> float:
        raise AssertionError("drew")

    assert order(strategy, [A], random=refuse) == "a"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_lowest_order_comes_first(strategy: Strategy) -> None:
    first, second, third = replace(B, order=-1), replace(C, order=1), replace(A, order=2)

    assert order(strategy, [third, second, first]) == "bca"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_full_ones_come_behind_all_others(strategy: Strategy) -> None:
    fleet = Fleet()
    full, later = replace(A, max_parallel_requests=1), replace(B, order=1)
    fleet.of(full).begin(0)

    assert order(strategy, [full, later], fleet) == "ba"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equals_come_in_every_order_equally_often(strategy: Strategy) -> None:
    counts = orders(strategy, [A, B, C])

    assert set(counts) == {"".join(ids) for ids in permutations("abc")}
    assert all(120 < count < 215 for count in counts.values())


# --- simple-shuffle --------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", ["weight", "rpm", "tpm"])
def test_shares_of_the_traffic_are_as_the_figures_say(figure: str) -> None:
    group = [replace(A, **{figure: 6}), replace(B, **{figure: 3}), replace(C, **{figure: 1})]

    counts = orders("simple-shuffle", group)

    firsts = Counter[str]()
    for ids, count in counts.items():
        firsts[ids[0]] += count
    assert 560 < firsts["a"] < 640
    assert 260 < firsts["b"] < 340
    assert 70 < firsts["c"] < 130


def test_shares_hold_among_the_rest() -> None:
    counts = orders("simple-shuffle", [replace(A, weight=1000), replace(B, weight=3), replace(C, weight=1)])

    assert 700 < counts["abc"] < 790
    assert 200 < counts["acb"] < 290


@pytest.mark.parametrize(
    ("of_a", "of_b"),
    [({"weight": 1}, {"rpm": 1000, "tpm": 1000}), ({"rpm": 1}, {"tpm": 1000}), ({"rpm": 1}, {"rpm": 0})],
)
def test_who_lacks_the_figure_that_counts_comes_last(of_a: dict[str, int], of_b: dict[str, int]) -> None:
    group = [replace(B, **of_b), C, replace(A, **of_a)]

    counts = orders("simple-shuffle", group)

    assert {ids[0] for ids in counts} == {"a"}


def test_among_those_without_a_share_each_may_come_first() -> None:
    counts = orders("simple-shuffle", [replace(A, weight=0), replace(B, weight=0)])

    assert 430 < counts["ab"] < 570


# --- least-busy ------------------------------------------------------------------------------------


def test_the_least_busy_comes_first() -> None:
    fleet = Fleet()
    for one in (A, A, B, B, B, C):
        fleet.of(one).begin(0)

    assert set(orders("least-busy", [A, B, C], fleet)) == {"cab"}


# --- latency-based-routing -------------------------------------------------------------------------


def test_the_fastest_to_the_first_content_comes_first_for_streams() -> None:
    fleet = Fleet()
    for one, seconds in ((A, 2), (B, 3), (C, 1)):
        stream(fleet, one, seconds)
        answer(fleet, one, 9 - seconds)

    assert order("latency-based-routing", [A, B, C], fleet, is_stream=True) == "cab"


def test_the_fastest_per_output_token_comes_first_for_whole_answers() -> None:
    fleet = Fleet()
    answer(fleet, A, 2, output_tokens=10)
    answer(fleet, B, 3, output_tokens=100)

    assert order("latency-based-routing", [A, B], fleet) == "ba"


def test_answers_without_output_tokens_are_compared_as_a_whole() -> None:
    fleet = Fleet()
    answer(fleet, A, 4, output_tokens=0)
    answer(fleet, B, 3, output_tokens=1)

    assert order("latency-based-routing", [A, B], fleet) == "ba"


def test_the_unmeasured_come_before_the_fastest() -> None:
    fleet = Fleet()
    answer(fleet, A, 0)

    assert set(orders("latency-based-routing", [A, B, C], fleet)) == {"bca", "cba"}


def test_a_measurement_that_is_too_old_is_none() -> None:
    fleet = Fleet()
    stream(fleet, A, 1, now=0)
    stream(fleet, B, 9, now=50)
    policy = replace(POLICY, latency_window_s=60)

    assert order("latency-based-routing", [B, A], fleet, policy, now=60, is_stream=True) == "ab"
    stream(fleet, A, 10, now=61)
    assert order("latency-based-routing", [A, B], fleet, policy, now=61, is_stream=True) == "ba"


def test_who_is_slower_by_no_more_than_the_buffer_is_as_good_as_the_fastest() -> None:
    fleet = Fleet()
    for one, seconds in ((A, 10), (B, 12), (C, 13)):
        answer(fleet, one, seconds)

    counts = orders("latency-based-routing", [A, B, C], fleet, latency_buffer=0.25)

    assert set(counts) == {"abc", "bac"}
    assert set(orders("latency-based-routing", [A, B, C], fleet)) == {"abc"}


# --- cost-based-routing ----------------------------------------------------------------------------


def test_the_cheapest_by_input_with_output_comes_first() -> None:
    a = replace(A, model=model(input="1", output="9"))
    b = replace(B, model=model(input="4", output="5.5"))
    c = replace(C, model=model(input="0.1", output="10"))

    assert set(orders("cost-based-routing", [c, a, b])) == {"bac"}
