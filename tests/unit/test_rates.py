"""What an instance has of a rate limit, how it is told, and which limits hold for a request."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.accounts import Team, User
from events.keys import ModelLimit
from functions.gateway.limits import NO_DEFAULTS, Parties, limits_of
from functions.gateway.ports import Rate, RateKind, Request
from functions.gateway.rate_headers import Standing, duration, rate_headers, refusal
from functions.gateway.rates import answer_tokens
from functions.gateway.shares import MinuteShare, ParallelShare, Part, Trust, is_scarce, minute_size, places_sizes
from tests.builders import NOON, chat_request, embedding_request, key

END = NOON + timedelta(minutes=1)
FOREVER = float("inf")


def standing(kind: RateKind, limit: int, remaining: int, scope: str = "key:5f") -> Standing:
    return Standing(Rate(scope=scope, kind=kind, limit=limit), remaining, END)


# --- shares ----------------------------------------------------------------------------------------

_MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 50)),
        st.tuples(st.just("hold"), st.integers(1, 20)),
        st.tuples(st.just("settle"), st.integers(0, 25)),
        st.tuples(st.just("take_out"), st.just(0)),
    ),
    max_size=40,
)


@dataclass
class Moved:
    """A share after some moves, and what the gate says of it. Requests use no more than they hold."""

    share: MinuteShare = field(default_factory=MinuteShare)
    admitted: int = 0
    used: int = 0
    held: list[tuple[Part, int]] = field(default_factory=list[tuple[Part, int]])

    def move(self, move: str, amount: int, name: str) -> None:
        if move == "put":
            self.share.put(name, amount, FOREVER, 0)
            self.admitted += amount
        elif move == "hold" and self.share.can_hold(amount, 0):
            self.held.append((self.share.hold(amount, 0), amount))
        elif move == "settle" and self.held:
            part, held = self.held.pop(0)
            part.settle(min(amount, held), 0)
            self.used += min(amount, held)
        elif move == "take_out":
            self.admitted -= sum(rest.amount for rest in self.share.take_out(0, unused_since=0))


@given(_MOVES)
def test_what_is_held_and_used_never_passes_what_the_gate_has_handed_out(moves: list[tuple[str, int]]) -> None:
    moved = Moved()
    for number, (move, amount) in enumerate(moves):
        moved.move(move, amount, str(number))
        assert moved.used + sum(held for _, held in moved.held) <= moved.admitted


@given(_MOVES)
def test_in_the_end_the_gate_has_handed_out_what_was_used(moves: list[tuple[str, int]]) -> None:
    moved = Moved()
    for number, (move, amount) in enumerate(moves):
        moved.move(move, amount, str(number))
    for number in range(len(moved.held)):
        moved.move("settle", number, "")
    moved.move("take_out", 0, "")

    assert moved.admitted == moved.used


def test_what_requests_may_yet_leave_keeps_an_allowance_to_go_back_with() -> None:
    share = MinuteShare()
    share.put("a", 20, FOREVER, 0)
    first, second = share.hold(10, 0), share.hold(10, 0)

    first.settle(2, 0)
    assert share.take_out(1, unused_since=1) == []
    second.settle(3, 0)
    assert [rest.amount for rest in share.take_out(1, unused_since=1)] == [15]


def test_a_place_is_free_again_once() -> None:
    share = ParallelShare()
    share.put("a", 1, FOREVER, 0)
    place = share.hold(1, 0)

    assert not share.can_hold(1, 0)
    place.settle(0, 0)
    place.settle(0, 0)
    assert (share.taken, share.unspent) == (0, 1)


def test_no_request_takes_a_place_that_is_over() -> None:
    share = ParallelShare()
    share.put("a", 1, 10.0, 0)

    assert share.can_hold(1, 9.9)
    assert not share.can_hold(1, 10)


def test_a_place_of_an_allowance_that_is_over_goes_back_when_its_request_is_over() -> None:
    share = ParallelShare()
    share.put("a", 1, 10.0, 0)
    place = share.hold(1, 0)

    assert share.take_out(11, unused_since=11) == []
    place.settle(0, 0)
    assert [rest.allowance_id for rest in share.take_out(11, unused_since=0)] == ["a"]


def test_a_request_moves_from_an_allowance_that_is_over_to_one_that_is_not() -> None:
    share = ParallelShare()
    share.put("old", 8, 10.0, 0)
    place = share.hold(1, 0)
    share.put("new", 1, 20.0, 9)

    assert [(rest.allowance_id, rest.amount) for rest in share.take_out(10, unused_since=0)] == [("old", 8)]
    assert not share.can_hold(1, 10)
    place.settle(0, 0)
    assert share.can_hold(1, 10)


def test_a_place_that_was_left_is_idle_from_then_on() -> None:
    share = ParallelShare()
    share.put("a", 1, FOREVER, 0)
    share.hold(1, 0).settle(0, 10)

    assert share.take_out(10.4, unused_since=9.9) == []
    assert [rest.allowance_id for rest in share.take_out(10.5, unused_since=10)] == ["a"]


@given(_MOVES)
def test_what_is_in_use_here_is_what_requests_hold_or_used_wherever_it_went(moves: list[tuple[str, int]]) -> None:
    moved = Moved()
    for number, (move, amount) in enumerate(moves):
        moved.move(move, amount, str(number))
        assert moved.share.in_use == moved.used + sum(held for _, held in moved.held)


def test_a_place_is_kept_while_it_is_wanted_soon() -> None:
    trust = Trust()
    assert not trust.keeps
    for now in (0.0, 0.3, 0.6):
        trust.left(now)
        trust.wanted(now + 0.2)

    assert trust.keeps


def test_a_place_is_not_kept_where_others_have_what_is_wanted() -> None:
    trust = Trust(points=4)
    trust.lose()

    assert not trust.keeps


def test_a_place_that_was_wanted_late_is_kept_again_after_it_was_wanted_soon_for_a_while() -> None:
    trust = Trust()
    trust.left(0)
    trust.wanted(1)
    kept: list[bool] = []
    for now in range(1, 11):
        trust.left(now)
        kept.append(trust.keeps)
        trust.wanted(now + 0.1)

    assert kept == [False] * 9 + [True]


@given(st.integers(1, 100), st.integers(0, 10_000), st.integers(-10, 15))
def test_where_few_places_are_left_each_goes_back_for_itself(waiting: int, taken: int, left: int) -> None:
    assert set(places_sizes(waiting, taken, left)) == {1}


@given(st.integers(1, 100), st.integers(0, 10_000), st.integers(0, 10_000), st.integers(-10, 10_000))
def test_what_is_taken_ahead_is_a_part_of_what_is_left(waiting: int, ahead: int, soon: int, left: int) -> None:
    size, rest = minute_size(waiting, 1, ahead, soon, left), max(0, left - waiting)

    assert waiting <= size <= waiting + max(rest // 16, rest * 2 // 3, min(rest, 4))
    assert minute_size(waiting, 1, ahead, 0, left) <= waiting + rest // 16
    assert size - waiting <= max(ahead, soon)


def test_one_instance_that_has_all_requests_takes_a_small_limit_in_few_parts() -> None:
    left, calls = 60, 0
    while left > 0:
        left -= minute_size(1, 1, 128, 60, left)
        calls += 1

    assert calls <= 5


@given(st.integers(16, 10_000), st.integers(1, 100), st.integers(0, 10_000))
def test_places_ahead_are_a_small_part_of_what_is_left(left: int, waiting: int, taken: int) -> None:
    assert max(places_sizes(waiting, taken, left)) <= left // 16


def test_little_is_left_where_few_requests_would_pass() -> None:
    assert is_scarce(left=15, limit=20, each=1)
    assert not is_scarce(left=17, limit=20, each=1)
    assert is_scarce(left=374, limit=6000, each=1)
    assert is_scarce(left=10_000, limit=20_000, each=1000)


# --- what is held of a request ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        (chat_request(), 1024),
        (chat_request(max_tokens=5), 5),
        (chat_request(max_tokens=5, max_completion_tokens=7), 7),
        (chat_request(max_tokens=5, n=3), 15),
        (embedding_request(), 0),
    ],
)
def test_an_answer_is_held_as_long_as_it_may_be(asked: Request, tokens: int) -> None:
    assert answer_tokens(asked) == tokens


# --- what clients are told -------------------------------------------------------------------------


def test_the_headers_tell_of_the_limit_that_is_met_first_and_of_each() -> None:
    standings = [
        standing("requests", 100, 50, "team:red"),
        standing("requests", 60, 59),
        standing("tokens", 1000, 7, "key:5f:gpt-4o"),
        standing("parallel", 4, 3, "user:ada"),
    ]

    assert rate_headers(standings, NOON + timedelta(seconds=47.5)) == {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "50",
        "x-ratelimit-reset-requests": "13s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "7",
        "x-ratelimit-reset-tokens": "13s",
        "x-ratelimit-team-limit-requests": "100",
        "x-ratelimit-team-remaining-requests": "50",
        "x-ratelimit-api_key-limit-requests": "60",
        "x-ratelimit-api_key-remaining-requests": "59",
        "x-ratelimit-model_per_key-limit-tokens": "1000",
        "x-ratelimit-model_per_key-remaining-tokens": "7",
        "x-ratelimit-user-limit-max_parallel_requests": "4",
        "x-ratelimit-user-remaining-max_parallel_requests": "3",
    }


@pytest.mark.parametrize(("seconds", "written"), [(1, "1s"), (59, "59s"), (60, "1m0s"), (360, "6m0s")])
def test_a_duration_is_written_as_openai_does(seconds: int, written: str) -> None:
    assert duration(seconds) == written


def test_a_refusal_says_which_limit_it_was_and_until_when() -> None:
    refused = refusal(standing("tokens", 1000, 7, "user:ada%20b"), 93, NOON + timedelta(seconds=47.5), can_pass=True)

    assert (refused.status, refused.type, refused.code) == (429, "throttling_error", "rate_limit_exceeded")
    assert refused.message == (
        "Rate limit exceeded for user: ada b. Limit type: tokens. Current limit: 1000, Remaining: 7. "
        "This request needs 93. Limit resets at: 2026-11-24 12:01:00 UTC. Ask again then."
    )
    assert refused.headers == {
        "rate_limit_type": "tokens",
        "retry-after": "13",
        "reset_at": "2026-11-24 12:01:00 UTC",
    }
    assert refused.details == {
        "scope": "user:ada b",
        "rate_limit_type": "tokens",
        "limit": 1000,
        "used": 993,
        "reset_at": "2026-11-24T12:01:00Z",
    }


# --- whose limits ----------------------------------------------------------------------------------


def test_a_request_is_held_to_the_limits_of_its_key_its_user_its_team_and_its_model() -> None:
    made = {"version": 1, "created_at": NOON, "created_by": "master", "updated_at": NOON, "updated_by": "master"}
    parties = Parties(
        key=key(
            key_id="5f",
            rpm_limit=1,
            max_parallel_requests=2,
            model_rpm_limit=(ModelLimit(model="gpt-4o", limit=3), ModelLimit(model="other", limit=4)),
            model_tpm_limit=(ModelLimit(model="gpt-*", limit=5),),
        ),
        user=User(user_id="ada", tpm_limit=6, **made),
        team=Team(team_id="red", rpm_limit=0, **made),
    )

    rates = limits_of(parties, "gpt-4o", NO_DEFAULTS).rates

    assert {(rate.scope, rate.kind): rate.limit for rate in rates} == {
        ("team:red", "requests"): 0,
        ("user:ada", "tokens"): 6,
        ("key:5f", "requests"): 1,
        ("key:5f", "parallel"): 2,
        ("key:5f:gpt-4o", "requests"): 3,
        ("key:5f:gpt-%2A", "tokens"): 5,
    }
