"""Portions: what goes into one commit is bounded by what it writes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from events.activity import activity
from events.budget import increments
from events.codec import Event
from events.spend import Scopes, SpendRecorded
from functions.gateway.portions import MOST_WRITES, halves, portions
from tests.builders import budget, spend


def of(number: int, who: str, tags: tuple[str, ...] = ()) -> SpendRecorded:
    """One request of somebody."""
    scopes = Scopes(key_hash=who, user=who, team=who, end_user=who, tags=tags)
    return spend(f"e-{number}", cost=1, scopes=scopes, allowance_ids=(f"key:{who}:all|{number}",))


def writes(events: list[SpendRecorded]) -> int:
    """How many documents or rows a commit of them writes."""
    return len(events) + len(increments([budget()], events)) + len(activity(events))


def cut(events: list[SpendRecorded], most: int = MOST_WRITES) -> list[list[SpendRecorded]]:
    def itself(event: SpendRecorded) -> Event:
        return event

    return list(portions(events, itself, [budget()], most=most))


def test_the_events_of_one_key_are_one_commit() -> None:
    events = [of(number, "ada") for number in range(180)]

    assert cut(events) == [events]


def test_those_of_strangers_are_several() -> None:
    events = [of(number, f"u-{number}", tags=(f"a-{number}", f"b-{number}", f"c-{number}")) for number in range(200)]

    assert [len(portion) for portion in cut(events)][:-1] == [21] * 9


def test_nothing_is_no_commit() -> None:
    assert cut([]) == []


def test_one_that_is_too_much_alone_is_one_commit() -> None:
    events = [of(1, "ada", tags=tuple(map(str, range(50)))), of(2, "bob")]

    assert cut(events, most=30) == [events[:1], events[1:]]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.lists(st.sampled_from("xyz"), max_size=3))), st.integers(1, 99))
def test_every_event_is_in_one_portion_and_each_portion_is_small_or_alone(
    made: list[tuple[str, list[str]]], most: int
) -> None:
    events = [of(number, who, tuple(tags)) for number, (who, tags) in enumerate(made)]
    found = cut(events, most)

    assert [event for portion in found for event in portion] == events
    assert all(len(portion) == 1 or writes(portion) <= most for portion in found)
    assert all(writes([*one, other[0]]) > most for one, other in pairwise(found))


@given(st.lists(st.integers(), min_size=2))
def test_halves_are_all_of_it_and_less_each(items: list[int]) -> None:
    one, other = halves(items)

    assert [*one, *other] == items
    assert len(items) > len(one) > 0
    assert len(items) > len(other) > 0
