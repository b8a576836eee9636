"""The faulty upstream does what its script says, and counts it."""

import json
from typing import Any

import httpx2
import pytest

from tests.e2e.stack import wait_for
from tests.faults import wires
from tests.faults.behaviour import GOOD, Behaviour
from tests.faults.control import FaultyUpstream, billed_cost, reported_cost
from tests.faults.faults import refusing
from tests.faults.wires import WIRES, right_answer

_PATHS = {"openai": "/chat/completions", "anthropic": "/v1/messages", "gemini": "/v1beta/models/gemini-2.5--{}:"}


def ask(upstream: FaultyUpstream, wire: str, name: str, *, is_stream: bool = False, **fields: Any) -> httpx2.Response:
    """Ask as the wire's SDK does."""
    turn = {"parts": [{"text": name}]} if wire == "gemini" else {"content": name}
    turns = [{"role": "user", **turn}]
    body = {"contents": turns} if wire == "gemini" else {"model": "m", "max_tokens": 99, "messages": turns}
    verb = ("streamGenerateContent" if is_stream else "generateContent") if wire == "gemini" else ""
    body |= {} if wire == "gemini" else {"stream": is_stream}
    return upstream.http.post(
        upstream.api_base(wire, name) + _PATHS[wire].format(name) + verb, json=body | fields, timeout=5
    )


def events(response: httpx2.Response) -> list[dict[str, Any]]:
    """Give the JSON of every event."""
    datas = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(data) for data in datas if data != "[DONE]"]


@pytest.mark.parametrize("wire", WIRES)
def test_without_a_script_the_right_answer_comes(upstream: FaultyUpstream, wire: str) -> None:
    answer = ask(upstream, wire, f"good-{wire}")

    assert right_answer(f"good-{wire}") in answer.text


@pytest.mark.parametrize("wire", WIRES)
def test_a_stream_says_the_same(upstream: FaultyUpstream, wire: str) -> None:
    answer = ask(upstream, wire, f"streamed-{wire}", is_stream=True)

    assert "".join(wires.text_of(event) for event in events(answer)) == right_answer(f"streamed-{wire}")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("is_stream", [False, True])
def test_what_is_billed_is_what_is_reported(upstream: FaultyUpstream, wire: str, is_stream: bool) -> None:
    name = f"billed-{wire}-{is_stream}"
    ask(upstream, wire, name, is_stream=is_stream)

    (seen,) = upstream.seen_by(name)
    assert reported_cost(seen) == billed_cost(seen) > 0
    assert (seen.outcome, seen.is_stream) == ("answered", is_stream)


def test_a_script_is_followed_step_by_step_and_its_last_step_holds(upstream: FaultyUpstream) -> None:
    upstream.set_script("steps", refusing("openai", 500), Behaviour(status=503, body="", times=2), GOOD)

    assert [ask(upstream, "openai", "steps").status_code for _ in range(5)] == [500, 503, 503, 200, 200]


def test_a_fault_may_hold_for_a_time(upstream: FaultyUpstream) -> None:
    upstream.set_script("for-a-time", Behaviour(status=500, body="", lasts_s=0.2), GOOD)

    assert ask(upstream, "openai", "for-a-time").status_code == 500
    while (status := ask(upstream, "openai", "for-a-time").status_code) != 200:
        assert status == 500
    began = [seen.began for seen in upstream.seen_by("for-a-time")]
    assert 0.2 <= began[-1] - began[0] < 1


@pytest.mark.parametrize("opening", ["reset", "close"])
def test_a_connection_may_end_without_a_byte(upstream: FaultyUpstream, opening: Any) -> None:
    upstream.set_script(opening, Behaviour(opening=opening))

    with pytest.raises(httpx2.TransportError):
        ask(upstream, "openai", opening)


@pytest.mark.parametrize("wire", WIRES)
def test_a_stream_that_ends_early_has_generated_what_it_sent(upstream: FaultyUpstream, wire: str) -> None:
    upstream.set_script(f"early-{wire}", Behaviour(cut_after=3))

    answer = ask(upstream, wire, f"early-{wire}", is_stream=True)

    assert "".join(wires.text_of(event) for event in events(answer)) == "The answer to"
    (seen,) = upstream.seen_by(f"early-{wire}")
    assert (seen.outcome, seen.output_tokens) == ("broken", 4)


@pytest.mark.parametrize("ending", ["reset", "close"])
def test_a_stream_may_break(upstream: FaultyUpstream, ending: Any) -> None:
    upstream.set_script(f"break-{ending}", Behaviour(cut_after=2, ending=ending))

    with pytest.raises(httpx2.TransportError):
        ask(upstream, "openai", f"break-{ending}", is_stream=True)


@pytest.mark.parametrize("half", ["declared", "undeclared"])
def test_half_a_body_is_no_json(upstream: FaultyUpstream, half: Any) -> None:
    upstream.set_script(f"half-{half}", Behaviour(half=half))

    with pytest.raises((httpx2.RemoteProtocolError, ValueError)):
        ask(upstream, "openai", f"half-{half}").json()


def test_a_client_that_leaves_is_noticed(upstream: FaultyUpstream) -> None:
    upstream.set_script("stalls", Behaviour(wait_s=60))

    with pytest.raises(httpx2.ReadTimeout):
        upstream.http.post(
            f"{upstream.url}/stalls/v1/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": "x"}]},
            timeout=0.1,
        )

    wait_for(lambda: upstream.seen_by("stalls")[0].outcome == "left")


@pytest.mark.parametrize("wire", WIRES)
def test_an_answer_goes_on_from_where_another_had_come_to(upstream: FaultyUpstream, wire: str) -> None:
    said = right_answer("go-on")[:20]
    part = {"parts": [{"text": said}]} if wire == "gemini" else {"content": said}
    more = {"parts": [{"text": "Go on."}]} if wire == "gemini" else {"content": "Go on."}
    first = {"parts": [{"text": "go-on"}]} if wire == "gemini" else {"content": "go-on"}
    roles = ("user", "model" if wire == "gemini" else "assistant", "user")
    turns = [{"role": role, **turn} for role, turn in zip(roles, (first, part, more), strict=True)]

    answer = ask(upstream, wire, "go-on", is_stream=True, **{"contents" if wire == "gemini" else "messages": turns})

    assert said + "".join(wires.text_of(event) for event in events(answer)) == right_answer("go-on")
