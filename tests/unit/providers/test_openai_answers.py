"""What answers of OpenAI mean, and of servers that speak its wire less well."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from events.spend import Usage
from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Answer, Chunk
from functions.gateway.wire import ChunkRenderer, render_answer
from functions.providers.event_reader import EventReader
from functions.providers.openai import OpenAIWire
from functions.providers.openai.decode import usage_details, usage_of
from functions.providers.openai.stream import OpenAIStream
from functions.providers.upstream import malformed_answers
from tests.recorded.stock_client import read_completion, read_stream

DONE = {"type": "[DONE]"}
REPORTED = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 20, "audio_tokens": 10, "image_tokens": 3},
    "completion_tokens_details": {
        "reasoning_tokens": 5,
        "audio_tokens": 7,
        "accepted_prediction_tokens": 2,
        "rejected_prediction_tokens": 1,
    },
}


def decoded(message: dict[str, Any] | None = None, **choice: Any) -> Answer:
    said = {"role": "assistant", "content": "Hello"} if message is None else message
    return OpenAIWire().decode({"choices": [{"index": 0, "message": said, "finish_reason": "stop", **choice}]})


def message_of(answer: Answer) -> dict[str, Any]:
    """The message, after the stock client has read the answer without complaint."""
    raw = render_answer(answer, model="m", fallback_id="chatcmpl-0", created=1)
    return read_completion(raw).choices[0].message.to_dict()


def delta(content: str | None = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    said = {**({} if content is None else {"content": content}), **fields}
    return {"id": "c", "created": 5, "model": "m", "choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def called(**fields: Any) -> dict[str, Any]:
    return delta(tool_calls=[fields])


def run(*events: dict[str, Any]) -> tuple[OpenAIStream, list[Chunk]]:
    decoder = OpenAIStream()
    return decoder, [chunk for event in events for chunk in decoder.decode(event)]


def whole(*events: dict[str, Any]) -> dict[str, Any]:
    """What the stock client adds the stream up to."""
    renderer = ChunkRenderer(model="m", fallback_id="chatcmpl-0", created=1, wants_usage=False)
    rendered: Iterator[bytes] = (renderer.render(chunk) for chunk in run(*events)[1])
    return read_stream(filter(None, rendered)).choices[0].to_dict()


# --- whole answers ---------------------------------------------------------------------------------


def test_usage_is_read_by_kind() -> None:
    assert usage_of(REPORTED) == Usage(
        input_tokens=100,
        output_tokens=50,
        cache_read_tokens=40,
        cache_write_5m_tokens=20,
        audio_input_tokens=10,
        reasoning_tokens=5,
        audio_output_tokens=7,
    )


def test_what_usage_has_no_word_for_is_kept_beside_it() -> None:
    assert usage_details({**REPORTED, "cost": 0.1}) == {
        "cost": 0.1,
        "prompt_tokens_details": {"image_tokens": 3},
        "completion_tokens_details": {"accepted_prediction_tokens": 2, "rejected_prediction_tokens": 1},
    }


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": 5}, {"prompt_tokens": None}])
def test_an_answer_without_usage_says_so_rather_than_nothing_was_used(usage: Any) -> None:
    answer = OpenAIWire().decode({"choices": [{"message": {"content": "x"}}], "usage": usage})

    assert answer.usage is None


def test_a_refusal_an_annotation_and_audio_reach_the_client() -> None:
    said = {
        "role": "assistant",
        "content": None,
        "refusal": "No.",
        "annotations": [
            {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1}}
        ],
        "audio": {"id": "audio_1", "data": "AAA=", "expires_at": 5, "transcript": "No."},
    }

    assert message_of(decoded(said)) == said


def test_log_probabilities_reach_the_client() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}], "refusal": None}

    assert decoded(logprobs=logprobs).choices[0]["logprobs"] == logprobs


def test_several_choices_keep_their_order() -> None:
    choices = [{"index": index, "message": {"content": str(index)}, "finish_reason": "stop"} for index in (0, 1)]

    assert [choice["message"]["content"] for choice in OpenAIWire().decode({"choices": choices}).choices] == ["0", "1"]


def test_an_answer_that_says_that_it_has_not_ended_is_none() -> None:
    with pytest.raises(UpstreamError, match="has not ended"):
        decoded({"content": "Hel"}, finish_reason=None)


@pytest.mark.parametrize("reason", ["", "eos"])
def test_a_finish_reason_that_is_none_of_openais_is_an_ordinary_end(reason: Any) -> None:
    assert decoded(finish_reason=reason).choices[0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("reason", "status"),
    [("error", "invalid_response"), ("abort", "invalid_response"), ("insufficient_system_resource", 503)],
)
def test_an_answer_that_its_server_gave_up_is_none(reason: str, status: int | str) -> None:
    with pytest.raises(UpstreamError) as whole_one:
        decoded(finish_reason=reason)
    with pytest.raises(UpstreamError) as streamed:
        run(delta("Hel"), delta(finish=reason))

    assert (whole_one.value.status, streamed.value.status) == (status, status)


def test_the_error_inside_a_choice_says_why_it_was_given_up() -> None:
    with pytest.raises(UpstreamError, match="429: too many"):
        decoded(finish_reason="error", error={"code": 429, "message": "too many"})


def test_a_new_finish_reason_is_kept_beside_the_message() -> None:
    answer = decoded(finish_reason="ran_dry")

    assert message_of(answer)["provider_specific_fields"] == {"finish_reason": "ran_dry"}


def test_an_answer_with_calls_but_no_reason_ended_in_calls() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}

    answer = decoded({"content": None, "tool_calls": [call]}, finish_reason="")
    assert answer.choices[0]["finish_reason"] == "tool_calls"


def test_a_bare_message_is_made_whole() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 2**64}}}

    (made,) = message_of(decoded({"tool_calls": [call]}))["tool_calls"]
    assert made["id"].startswith("call_")
    assert (made["type"], made["function"]["arguments"]) == ("function", '{"a":18446744073709551616}')


def test_nulls_in_place_of_an_index_and_a_type_are_filled_in() -> None:
    call = {"id": "c", "type": None, "function": {"name": "f", "arguments": "{}"}}

    answer = decoded({"tool_calls": [call]}, index=None)
    assert message_of(answer)["tool_calls"][0]["type"] == "function"
    assert answer.choices[0]["index"] == 0


@pytest.mark.parametrize(
    "said",
    [
        {"content": "Hello", "reasoning": "hm"},
        {"content": "Hello", "reasoning_content": "hm"},
        {"content": "Hello", "reasoning_content": "hm", "reasoning": "hm"},
        {"content": "Hello", "reasoning_content": "hm", "reasoning": None},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "Hello"},
            ]
        },
    ],
)
def test_reasoning_comes_under_one_name(said: dict[str, Any]) -> None:
    message = message_of(decoded(said))

    assert (message["content"], message["reasoning_content"]) == ("Hello", "hm")


@pytest.mark.parametrize(
    "body",
    [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}, {"choices": [None]}, {"choices": [{"message": 5}]}],
)
def test_what_is_no_answer_is_said_to_be_none(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError) as refused, malformed_answers():
        OpenAIWire().decode(body)
    assert refused.value.status == "invalid_response"


SHAPELESS = [
    {"function_call": "x"}, {"function_call": ["x"]}, {"tool_calls": "x"}, {"tool_calls": {"id": "c"}},
    {"tool_calls": ["x"]}, {"tool_calls": [["x"]]}, {"tool_calls": [{"id": "c", "function": "x"}]},
    {"content": 5}, {"content": {"text": "x"}}, {"content": [5]}, {"refusal": ["x"]},
]  # fmt: skip


@pytest.mark.parametrize("said", SHAPELESS)
def test_an_answer_of_another_shape_is_none(said: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError) as refused, malformed_answers():
        decoded({"role": "assistant", **said})
    assert refused.value.status == "invalid_response"


# --- streams ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("events", [[], [delta("Hello")]])
def test_a_stream_that_nothing_ended_is_not_complete_with_done(events: list[dict[str, Any]]) -> None:
    assert not run(*events, DONE)[0].is_complete


@pytest.mark.parametrize("said", SHAPELESS)
def test_a_chunk_of_another_shape_is_a_malformed_event(said: dict[str, Any]) -> None:
    [chunk] = EventReader(OpenAIStream()).read(orjson.dumps({"choices": [{"index": 0, "delta": said}]}))

    assert (chunk.choices, chunk.malformed) == ([], 1)


def test_a_stream_is_complete_once_its_reason_was_seen() -> None:
    assert run(delta("Hello"), delta(finish="stop"))[0].is_complete


def test_a_stream_that_was_cut_is_not_complete() -> None:
    assert not run(delta("Hello"))[0].is_complete


def test_a_stream_of_two_choices_is_not_complete_with_one() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "x"}}]}

    assert not run(delta("Hello"), other, delta(finish="stop"))[0].is_complete


def test_an_empty_reason_is_none() -> None:
    assert whole(delta("Hel", finish=""), delta("lo", finish=""), delta(finish="length"))["finish_reason"] == "length"


def test_a_missing_role_is_given() -> None:
    assert whole(delta("Hello"), delta(finish="stop"))["message"]["role"] == "assistant"


def test_a_repeated_role_is_given_once() -> None:
    said = whole(delta("Hel", role="assistant"), delta("lo", role="assistant"), delta(finish="stop"))

    assert (said["message"]["role"], said["message"]["content"]) == ("assistant", "Hello")


def test_a_call_whose_id_and_name_are_repeated_is_one_call() -> None:
    pieces = [
        called(index=0, id="c", type="function", function={"name": "f", "arguments": piece})
        for piece in ('{"a":', "1}")
    ]

    (call,) = whole(*pieces, delta(finish="tool_calls"))["message"]["tool_calls"]
    assert (call["id"], call["function"]["name"], call["function"]["arguments"]) == ("c", "f", '{"a":1}')


def test_a_call_without_index_or_id_is_given_both() -> None:
    (call,) = whole(called(function={"name": "f", "arguments": "{}"}), delta(finish="tool_calls"))["message"][
        "tool_calls"
    ]

    assert call["id"].startswith("call_")


def numbered(*calls: tuple[Any, str | None, str | None, str]) -> list[dict[str, Any]]:
    """What the client has of calls that come in pieces of `(index, id, name, arguments)`."""
    pieces = [
        called(index=index, id=call_id, type=None, function={"name": name, "arguments": arguments})
        for index, call_id, name, arguments in calls
    ]
    return whole(*pieces, delta(finish="tool_calls"))["message"]["tool_calls"]


@pytest.mark.parametrize("indexes", [(0, 1), (0, 2), (1, 2), (0, 0), (5, 3), ("a", "b")])
def test_calls_are_numbered_in_the_order_of_their_coming(indexes: tuple[Any, Any]) -> None:
    first, second = indexes
    calls = numbered(
        (first, "a", "f", '{"x":'), (first, None, None, "1}"), (second, "b", "g", "{"), (second, "b", "g", "}")
    )

    assert [(call["id"], call["type"], call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        ("a", "function", "f", '{"x":1}'),
        ("b", "function", "g", "{}"),
    ]


def test_an_id_that_comes_late_changes_nothing() -> None:
    (call,) = numbered((0, None, "f", "{"), (0, "late", None, "}"))

    assert call["id"].startswith("call_")
    assert not call["id"].endswith("late")


def test_calls_without_an_index_are_told_apart_by_their_place() -> None:
    piece = [{"id": name, "index": None, "function": {"name": name, "arguments": "{}"}} for name in ("f", "g")]

    calls = whole(delta(tool_calls=piece), delta(finish="tool_calls"))["message"]["tool_calls"]
    assert [call["id"] for call in calls] == ["f", "g"]


def test_a_call_whose_function_comes_later_is_one() -> None:
    pieces = [
        called(index=0, id="c", function=None),
        called(index=0, function={"name": "f", "arguments": "{"}),
        called(index=0, function={"name": None, "arguments": "}"}),
    ]

    (call,) = whole(*pieces, delta(finish="tool_calls"))["message"]["tool_calls"]
    assert (call["id"], call["function"]["name"], call["function"]["arguments"]) == ("c", "f", "{}")


def test_a_message_beside_the_deltas_repeats_them() -> None:
    first, last = delta("Hel"), delta("lo", finish="stop")
    last["choices"][0]["message"] = {"role": "assistant", "content": "Hello"}

    assert whole(first, last)["message"]["content"] == "Hello"
    assert "message" not in run(first, last)[1][1].choices[0]


def test_a_message_in_place_of_deltas_is_the_answer() -> None:
    event = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}

    assert whole(event)["message"]["content"] == "Hello"


@pytest.mark.parametrize(
    ("given", "shown"), [(5, 5), (5.7, 5), ("2025-01-01", None), (-1, None), (1e300, None), (None, None)]
)
def test_the_time_is_in_whole_seconds_or_the_gateways_own(given: Any, shown: int | None) -> None:
    body = {"created": given, "choices": [{"message": {"content": "Hello"}}]}

    assert OpenAIWire().decode(body).created == shown
    assert run({**delta("Hello"), "created": given})[1][0].created == shown


def test_a_numbered_answer_has_its_number_as_id() -> None:
    body = {"id": 7, "model": 8, "choices": [{"message": {"content": "Hello"}}]}
    answer, chunk = OpenAIWire().decode(body), run({**delta("Hello"), "id": 7, "model": 8})[1][0]

    assert (answer.response_id, answer.response_model) == ("7", "8")
    assert (chunk.response_id, chunk.response_model) == ("7", "8")


def test_usage_may_come_with_the_last_content() -> None:
    _, chunks = run(delta("Hello"), {**delta(finish="stop"), "usage": REPORTED})

    assert [chunk.usage.output_tokens for chunk in chunks if chunk.usage] == [50]


def test_a_new_reason_in_a_stream_is_an_ordinary_end() -> None:
    said = whole(delta("Hello"), delta(finish="ran_dry"))

    assert said["finish_reason"] == "stop"
    assert said["message"]["provider_specific_fields"] == {"finish_reason": "ran_dry"}


def test_what_comes_before_the_first_choice_is_not_lost() -> None:
    filtered = {"id": "", "created": 0, "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    _, chunks = run(filtered, delta("Hello"))

    assert chunks[1].extra == {"prompt_filter_results": [{"prompt_index": 0}]}


def test_a_chunk_without_a_delta_is_an_empty_one() -> None:
    assert run({"choices": [{"index": 0}]})[1][0].choices[0]["delta"] == {"role": "assistant"}


@pytest.mark.parametrize("event", [{}, {"choices": None}, {"object": "ping"}])
def test_an_event_that_says_nothing_is_passed_over(event: dict[str, Any]) -> None:
    assert not run(event)[1][0].has_content
