"""How much Claude thinks, and what that leaves of the other parameters."""

from typing import Any

import pytest

from functions.gateway.errors import BadRequest
from functions.providers.anthropic.encode import dropped_params, encode_request
from tests.unit.providers.claude import (
    ADAPTIVE,
    BUDGET,
    CALL,
    NEWEST,
    RESULT,
    THOUGHT,
    TOOL,
    USER,
    deployment,
    dropped,
    request,
    sent,
    turns,
)

SHOWN = {"type": "adaptive", "display": "summarized"}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}


def effort(body: dict[str, Any]) -> str | None:
    return body.get("output_config", {}).get("effort")


@pytest.mark.parametrize(
    ("wanted", "model", "given"),
    [
        ("minimal", ADAPTIVE, "low"),
        ("medium", ADAPTIVE, "medium"),
        ("xhigh", ADAPTIVE, "high"),
        ("max", ADAPTIVE, "max"),
        ("xhigh", NEWEST, "xhigh"),
    ],
)
def test_an_effort_is_the_nearest_that_the_model_takes(wanted: str, model: str, given: str) -> None:
    body = sent(to=model, reasoning_effort=wanted)

    assert (body["thinking"], effort(body)) == (SHOWN, given)


def test_an_effort_that_is_none_is_a_bad_request() -> None:
    with pytest.raises(BadRequest) as caught:
        sent(reasoning_effort="unheard-of")

    assert caught.value.param == "reasoning_effort"


@pytest.mark.parametrize(
    ("wanted", "budget"), [("low", 1024), ("medium", 2048), ("high", 4096), ("xhigh", 8192), ("max", 16384)]
)
def test_an_effort_is_a_budget_where_the_model_takes_only_that(wanted: str, budget: int) -> None:
    body = sent(to=BUDGET, reasoning_effort=wanted)

    assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert body["max_tokens"] == 16384 + budget
    assert "output_config" not in body


@pytest.mark.parametrize(("max_tokens", "budget"), [(1200, 1024), (6000, 3000)])
def test_the_budget_of_an_effort_leaves_tokens_to_the_text(max_tokens: int, budget: int) -> None:
    body = sent(to=BUDGET, reasoning_effort="high", max_tokens=max_tokens)

    assert (body["thinking"]["budget_tokens"], body["max_tokens"]) == (budget, max_tokens)


def test_there_is_no_thinking_where_max_tokens_leave_no_room() -> None:
    assert "thinking" not in sent(to=BUDGET, reasoning_effort="high", max_tokens=1024)
    assert dropped(to=BUDGET, reasoning_effort="high", max_tokens=1024) == ("reasoning_effort",)


@pytest.mark.parametrize(("wanted", "given"), [(1, 1024), (2000, 2000), (9000, 4095)])
def test_a_budget_stays_within_its_bounds(wanted: int, given: int) -> None:
    body = sent(to=BUDGET, thinking={"type": "enabled", "budget_tokens": wanted}, max_tokens=4096)

    assert body["thinking"] == {"type": "enabled", "budget_tokens": given}


def test_a_budget_stays_one_where_it_is_taken_still() -> None:
    thinking = {"type": "enabled", "budget_tokens": 3000}

    assert sent(to=ADAPTIVE, thinking=thinking)["thinking"] == thinking


@pytest.mark.parametrize(("budget", "given"), [(1024, "low"), (3000, "high"), (50_000, "max")])
def test_a_budget_is_an_effort_where_the_model_takes_none(budget: int, given: str) -> None:
    body = sent(to=NEWEST, thinking={"type": "enabled", "budget_tokens": budget})

    assert (body["thinking"], effort(body)) == (SHOWN, given)


def test_adaptive_thinking_is_a_budget_where_the_model_takes_only_that() -> None:
    assert sent(to=BUDGET, thinking={"type": "adaptive"})["thinking"] == {"type": "enabled", "budget_tokens": 4096}


@pytest.mark.parametrize("body", [{"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}])
def test_thinking_is_turned_off(body: dict[str, Any]) -> None:
    assert sent(to=ADAPTIVE, **body)["thinking"] == {"type": "disabled"}


def test_a_model_that_always_thinks_is_asked_to_think_little() -> None:
    body = sent(to=NEWEST, reasoning_effort="none")

    assert ("thinking" in body, effort(body)) == (False, "low")
    assert dropped(to=NEWEST, reasoning_effort="none") == ("reasoning_effort",)


def test_thinking_yields_to_a_forced_tool() -> None:
    forced = {"tools": [TOOL], "tool_choice": "required", "reasoning_effort": "high"}

    body = sent(to=BUDGET, **forced)

    assert ("thinking" in body, body["tool_choice"]) == (False, {"type": "any"})
    assert dropped(to=BUDGET, **forced) == ("reasoning_effort",)
    assert effort(sent(to=ADAPTIVE, **forced)) == "high"
    assert dropped(to=ADAPTIVE, **forced) == ()


@pytest.mark.parametrize("rest", [(), (USER,), ({"role": "system", "content": "Be brief."},)])
def test_thinking_yields_where_its_blocks_were_lost(rest: tuple[Any, ...]) -> None:
    conversation = (USER, CALLED, RESULT, *rest)

    assert "thinking" not in sent(*conversation, to=BUDGET, tools=[TOOL], reasoning_effort="low")
    assert dropped(*conversation, to=BUDGET, tools=[TOOL], reasoning_effort="low") == ("reasoning_effort",)


@pytest.mark.parametrize(
    ("block", "call_id"),
    [
        ({"type": "thinking", "thinking": "T"}, "call_1"),
        (THOUGHT, "call_1__thought__AAAA"),
    ],
)
def test_thinking_yields_where_its_blocks_are_anothers(block: dict[str, Any], call_id: str) -> None:
    called = {**CALLED, "tool_calls": [{**CALL, "id": call_id}], "thinking_blocks": [block]}

    body = sent(USER, called, {**RESULT, "tool_call_id": call_id}, to=BUDGET, tools=[TOOL], reasoning_effort="high")

    assert "thinking" not in body


def test_thinking_goes_on_where_its_blocks_came_back() -> None:
    called = {**CALLED, "thinking_blocks": [THOUGHT]}

    assert "thinking" in sent(USER, called, RESULT, USER, to=BUDGET, tools=[TOOL], reasoning_effort="high")


def test_lost_blocks_refuse_nothing_even_where_dropping_is_refused() -> None:
    asked = request(USER, CALLED, RESULT, tools=[TOOL], reasoning_effort="low", drop_params=False)

    assert "thinking" not in encode_request(asked, deployment(BUDGET))
    assert dropped_params(asked, deployment(BUDGET)) == ("reasoning_effort",)


def test_lost_blocks_of_a_turn_that_has_ended_change_nothing() -> None:
    done = (USER, CALLED, RESULT, {"role": "assistant", "content": "Sunny."}, USER)

    assert "thinking" in sent(*done, to=BUDGET, reasoning_effort="low")


def test_thinking_yields_to_a_prefill() -> None:
    assert dropped(USER, {"role": "assistant", "content": "So"}, to=BUDGET, reasoning_effort="low") == (
        "reasoning_effort",
    )


def test_only_the_turns_first_message_must_begin_with_its_thoughts() -> None:
    first = {**CALLED, "thinking_blocks": [THOUGHT]}
    second = {**CALLED, "tool_calls": [{**CALL, "id": "toolu_2"}]}

    body = sent(USER, first, RESULT, second, {**RESULT, "tool_call_id": "toolu_2"}, to=BUDGET, reasoning_effort="low")

    assert body["thinking"]["type"] == "enabled"


def test_adaptive_thinking_goes_on_without_its_blocks() -> None:
    assert sent(USER, CALLED, RESULT, to=ADAPTIVE, reasoning_effort="low")["thinking"] == SHOWN


@pytest.mark.parametrize(("model", "has_thoughts"), [(BUDGET, False), (ADAPTIVE, False), (NEWEST, True)])
def test_thoughts_are_sent_only_where_the_request_thinks(model: str, has_thoughts: bool) -> None:
    echoed = {**CALLED, "thinking_blocks": [THOUGHT]}

    content = turns(USER, echoed, RESULT, to=model, tools=[TOOL])[1]["content"]

    assert (THOUGHT in content) is has_thoughts


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"temperature": 0.2}, ("temperature",)),
        ({"temperature": 1}, ()),
        ({"top_k": 5}, ("top_k",)),
        ({"top_p": 0.5}, ("top_p",)),
        ({"top_p": 0.97}, ()),
    ],
)
def test_thinking_leaves_little_to_sample(body: dict[str, Any], names: tuple[str, ...]) -> None:
    assert dropped(to=ADAPTIVE, reasoning_effort="low", **body) == names


def test_a_model_without_sampling_is_sent_none() -> None:
    asked = {"temperature": 0.2, "top_p": 1, "top_k": 5}

    assert dropped(to=NEWEST, **asked) == ("temperature", "top_k")
    assert not sent(to=NEWEST, **asked).keys() & asked.keys()


def test_top_p_yields_to_temperature() -> None:
    assert dropped(to=ADAPTIVE, temperature=0.2, top_p=0.9) == ("top_p",)


def test_a_temperature_is_at_most_1() -> None:
    assert sent(temperature=1.8)["temperature"] == 1


def test_a_model_without_thinking_is_asked_for_none() -> None:
    unable = deployment(BUDGET, reasoning=False)

    assert dropped_params(request(reasoning_effort="low"), unable) == ("reasoning_effort",)
