"""What a request does after each outcome."""

from typing import Any

import pytest

from functions.gateway.chains import Chain
from functions.gateway.errors import AllModelsFailed, BadRequest, UpstreamError
from functions.gateway.health import Fleet
from functions.gateway.policy import RoutingPolicy
from functions.gateway.ports import AS_CONFIGURED, Deployment, Wishes
from functions.gateway.routing import Plan
from functions.gateway.verdicts import judge
from tests.builders import chat_request, deployment, model

A, B, C = (deployment("openai", name) for name in "abc")
SMALL, LARGE = (
    deployment("openai", name, model=model(max_input_tokens=n)) for name, n in (("small", 10), ("large", 99))
)
DEADLINE = 60.0


class Journey:
    """A plan, and what came of its steps."""

    def __init__(
        self, chain: Chain, *, fleet: Fleet | None = None, wishes: Wishes = AS_CONFIGURED, **policy: Any
    ) -> None:
        self.fleet = fleet or Fleet()
        request = chat_request("a", wishes=wishes)
        self.plan = Plan(
            request, chain, self.fleet, RoutingPolicy(**policy), now=0, deadline=DEADLINE, random=lambda: 0.0
        )
        self.steps: list[str] = []
        self.waits: list[float] = []

    def go(self, *outcomes: UpstreamError | None, now: float = 0) -> "Journey":
        """Take a step for each outcome; `None` is an answer."""
        for outcome in outcomes:
            wait_s = self.plan.wait_s(now)
            now += wait_s
            step = self.plan.next(now)
            if step is None:
                break
            self.steps.append(step.deployment.upstream_model)
            self.waits.append(wait_s)
            if outcome is None:
                step.asked.succeeded(now, is_stream=False, seconds=1)
                continue
            step.asked.failed(now, judge(outcome), status=outcome.status, retry_after_s=outcome.retry_after_s)
            self.plan.learn(step.deployment, outcome, now)
        return self

    def went(self) -> str:
        return " ".join(self.steps)


def chain(*deployments: Deployment, larger: Any = (), lenient: Any = ()) -> Chain:
    return Chain(tuple((d,) for d in deployments), tuple((d,) for d in larger), tuple((d,) for d in lenient))


def failing(status: int | str, **fields: Any) -> UpstreamError:
    return UpstreamError(status, "no", **fields)


TOO_LONG = failing(400, code="context_length_exceeded")
REFUSED = failing(400, code="content_filter")
BROKEN = failing(500)
OVERLOADED = failing(529)
TIMEOUT = failing("timeout")


def test_a_fault_of_the_moment_is_retried_on_the_same_deployment_and_then_falls_back() -> None:
    journey = Journey(chain(A, B)).go(*[BROKEN] * 9)

    assert journey.went() == "a a a b"


def test_retries_back_off_with_jitter() -> None:
    journey = Journey(chain(A)).go(*[BROKEN] * 3)

    assert journey.waits == [0, 0.25, 0.5]  # half of the back-off is chance


def test_an_overloaded_deployment_gives_way_and_only_the_last_one_is_retried() -> None:
    assert Journey(chain(A, B)).go(*[OVERLOADED] * 9).went() == "a b b b"


def test_a_route_that_timed_out_is_not_tried_again() -> None:
    assert Journey(chain(A, B)).go(*[TIMEOUT] * 9).went() == "a b"


@pytest.mark.parametrize(("hint", "went", "wait"), [(1.5, "a a", 1.5), (30, "a b", 0)])
def test_a_short_hint_is_waited_for_and_a_long_one_means_the_next(hint: float, went: str, wait: float) -> None:
    journey = Journey(chain(A, B)).go(failing(429, retry_after_s=hint), None)

    assert (journey.went(), journey.waits[-1]) == (went, wait)


def test_after_a_stale_connection_another_is_tried_at_once_whatever_was_said_of_retries() -> None:
    stale = failing("connection_error", code="stale_connection")

    journey = Journey(chain(A), num_retries=0).go(stale, None)
    assert (journey.went(), journey.waits) == ("a a", [0, 0])

    assert len(Journey(chain(A)).go(*[stale] * 20).steps) == 4


def test_a_request_waits_for_four_silences_at_most() -> None:
    many = [deployment("openai", f"m{n}") for n in range(6)]
    assert len(Journey(chain(*many)).go(*[TIMEOUT] * 20).steps) == 4

    stalled = Journey(chain(*many)).go(None)
    stalled.plan.broke_off(many[0], TIMEOUT, 0)
    assert len(stalled.go(*[TIMEOUT] * 20).steps) == 1 + 2


@pytest.mark.parametrize(("hint", "went"), [(8, "a a"), (11, "a")])
def test_where_nobody_else_is_there_a_longer_wait_is_borne(hint: float, went: str) -> None:
    assert Journey(chain(A)).go(failing(429, retry_after_s=hint), None).went() == went


def test_no_group_keeps_its_fallback_from_being_asked() -> None:
    many = tuple(deployment("openai", f"m{n}", group="many") for n in range(12))
    journey = Journey(Chain((many, (B,)))).go(*[TIMEOUT] * 20)

    assert len(journey.steps) == 4
    assert journey.steps[-1] == "b"


def test_a_retry_that_is_due_is_not_made_if_its_deployment_rests_by_then() -> None:
    fleet = Fleet()
    journey = Journey(chain(A, B), fleet=fleet).go(BROKEN)
    fleet.of(A).rest_until(20, 0)

    assert journey.go(None).went() == "a b"


def test_a_probe_is_taken_by_the_step_and_not_when_it_is_begun() -> None:
    fleet = Fleet()
    Journey(chain(A), fleet=fleet).go(failing(401))
    first, second = Journey(chain(A, B), fleet=fleet), Journey(chain(A, B), fleet=fleet)

    steps = [journey.plan.next(30.0) for journey in (first, second)]

    assert [step.deployment.upstream_model for step in steps if step] == ["a", "b"]


def test_a_prompt_that_is_too_long_is_not_asked_of_the_same_model_elsewhere() -> None:
    same = deployment("openai", "a", model_id="a-2")

    assert Journey(chain(A, same, B)).go(TOO_LONG, None).went() == "a b"


def test_after_the_larger_ones_the_rest_of_the_chain_is_asked() -> None:
    assert Journey(chain(SMALL, B, larger=[LARGE])).go(TOO_LONG, TIMEOUT, None).went() == "small large b"


def test_a_wait_that_the_request_has_no_time_for_is_not_begun() -> None:
    assert Journey(chain(A, B)).go(failing(429, retry_after_s=1.5), None, now=DEADLINE - 1).went() == "a b"


@pytest.mark.parametrize(
    ("count", "policy", "attempts"), [(1, {}, 3), (2, {}, 4), (3, {}, 4), (6, {}, 6), (1, {"num_retries": 9}, 4)]
)
def test_retries_never_lead_to_more_attempts_than_the_cap(count: int, policy: Any, attempts: int) -> None:
    many = [deployment("openai", f"m{n}") for n in range(count)]

    assert len(Journey(chain(*many), **policy).go(*[failing(500)] * 20).steps) == attempts


def test_a_request_says_how_often_it_wants_to_be_retried() -> None:
    assert Journey(chain(A, B), wishes=Wishes(num_retries=0)).go(*[BROKEN] * 9).went() == "a b"


def test_without_a_retry_budget_nothing_is_retried() -> None:
    fleet = Fleet()
    while fleet.of(A).take_retry(0):
        pass

    assert Journey(chain(A, B), fleet=fleet).go(*[BROKEN] * 2).went() == "a b"


def test_a_resting_deployment_is_passed_over_and_asked_last() -> None:
    fleet = Fleet()
    Journey(chain(A), fleet=fleet).go(failing(401))

    assert Journey(chain(A, B), fleet=fleet).go(None).went() == "b"
    assert Journey(chain(A, B), fleet=fleet).go(*[TIMEOUT] * 9).went() == "b a"


def test_where_everybody_rests_one_is_asked_once() -> None:
    fleet = Fleet()
    for resting in (A, B):
        Journey(chain(resting), fleet=fleet).go(failing(401))

    assert len(Journey(chain(A, B), fleet=fleet).go(*[BROKEN] * 9).steps) == 1


def test_a_request_at_fault_ends_with_the_providers_own_words() -> None:
    fault = UpstreamError(400, "temperature is too high", code="invalid_value", param="temperature")

    with pytest.raises(BadRequest, match="openai/a refused the request: temperature is too high") as refused:
        Journey(chain(A, B)).go(fault)

    assert refused.value.param == "temperature"


def test_a_prompt_that_is_too_long_goes_to_the_chain_of_larger_models() -> None:
    assert Journey(chain(SMALL, B, larger=[LARGE])).go(TOO_LONG, None).went() == "small large"


def test_a_prompt_that_is_too_long_is_not_asked_of_a_model_of_the_same_size() -> None:
    same = deployment("openai", "same", model=model(max_input_tokens=10))

    assert Journey(chain(SMALL, same, LARGE)).go(TOO_LONG, None).went() == "small large"


def test_a_prompt_that_nobody_can_take_is_its_senders_business() -> None:
    journey = Journey(chain(SMALL)).go(TOO_LONG)

    assert journey.plan.next(0) is None
    failure = journey.plan.failure([])
    assert isinstance(failure, BadRequest)
    assert failure.code == "context_length_exceeded"


def test_refused_content_goes_to_the_chain_for_that_or_back_to_its_sender() -> None:
    assert Journey(chain(A, B, lenient=[C])).go(REFUSED, None).went() == "a c"

    refused = Journey(chain(A, B)).go(REFUSED, None)
    assert refused.went() == "a"
    assert isinstance(refused.plan.failure([]), BadRequest)


def test_a_special_chain_that_fails_is_a_failure_and_not_the_senders_fault() -> None:
    journey = Journey(chain(SMALL, larger=[LARGE])).go(TOO_LONG, TIMEOUT)

    assert isinstance(journey.plan.failure([]), AllModelsFailed)


def test_windows_are_checked_beforehand_where_that_is_asked_for() -> None:
    tiny = deployment("openai", "tiny", model=model(max_input_tokens=1))

    assert Journey(chain(tiny, LARGE), checks_context_window=True).go(None).went() == "large"
    assert Journey(chain(tiny, A, larger=[LARGE]), checks_context_window=True).go(None).went() == "large"
    assert Journey(chain(tiny, LARGE)).go(None).went() == "tiny"


def test_where_every_window_seems_too_small_the_provider_decides() -> None:
    tiny = deployment("openai", "tiny", model=model(max_input_tokens=1))

    assert Journey(chain(tiny), checks_context_window=True).go(None).went() == "tiny"


def test_a_failure_says_when_to_try_again_where_a_provider_did() -> None:
    journey = Journey(chain(A, B)).go(failing(429, retry_after_s=30), failing(429, retry_after_s=12.2))

    assert journey.plan.failure([]).headers["retry-after"] == "13"


def test_a_stream_that_broke_off_is_continued_by_the_next_or_by_the_same_where_it_is_the_last() -> None:
    for others, went in (((B,), "b"), ((), "a")):
        journey = Journey(chain(A, *others)).go(None)
        journey.plan.broke_off(A, failing("broken_stream"), 0)

        step = journey.plan.next(0)
        assert step is not None
        assert step.deployment.upstream_model == went


def test_what_is_wrong_with_a_continuation_is_not_the_senders_fault() -> None:
    journey = Journey(chain(A, B, C)).go(None)
    journey.plan.broke_off(A, TIMEOUT, 0)

    assert journey.go(failing(400), None).went() == "a b c"


def test_a_stalled_stream_is_not_continued_by_the_same_deployment() -> None:
    journey = Journey(chain(A)).go(None)
    journey.plan.broke_off(A, TIMEOUT, 0)

    assert journey.plan.next(0) is None
