"""Going on with a stream that broke off."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.gateway.continuation import Continuation, Overlap, can_continue, continuing
from functions.gateway.ports import Chunk
from tests.builders import chat_request, chunk

SAID = "The quick brown fox jumps over the lazy dog. It was"


def joined(said: str, *pieces: str) -> str:
    """What the client adds up."""
    overlap = Overlap(said)
    return said + "".join([overlap.feed(piece) for piece in pieces]) + overlap.end()


def test_what_is_new_is_added_as_it_is() -> None:
    assert joined(SAID, " late", ".") == f"{SAID} late."


def test_the_end_of_what_was_said_is_not_repeated() -> None:
    assert joined(SAID, "the lazy", " dog. It was", " late.") == f"{SAID} late."


def test_an_answer_that_starts_over_is_taken_from_where_it_broke_off() -> None:
    assert joined(SAID, *f"{SAID} late.") == f"{SAID} late."


def test_a_short_likeness_may_be_chance_and_is_kept() -> None:
    assert joined("It was was", "was", " it?") == "It was waswas it?"


def test_a_continuation_that_ends_while_it_only_repeats_adds_nothing() -> None:
    assert joined(SAID, "lazy dog. ", "It was") == SAID


@given(
    said=st.text(alphabet="ab c", min_size=1, max_size=60),
    new=st.text(alphabet="xyz", min_size=1, max_size=20),
    data=st.data(),
)
def test_however_it_is_cut_a_repetition_is_taken_off_and_nothing_else(said: str, new: str, data: st.DataObject) -> None:
    repeated = data.draw(st.sampled_from([0, len(said), *range(8, len(said))]))
    text = said[len(said) - repeated :] + new
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert joined(said, *pieces) == said + new


def test_the_next_deployment_sees_what_was_said_and_is_told_to_go_on() -> None:
    request = continuing(chat_request(max_tokens=100), "x" * 40)

    first, said, told = request.body["messages"]
    assert first["content"] == "Say hello"
    assert said == {"role": "assistant", "content": "x" * 40}
    assert told["role"] == "user"
    assert request.body["max_tokens"] == 90


def test_where_nothing_was_said_the_request_is_asked_anew() -> None:
    request = chat_request()

    assert continuing(request, "") is request


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        {"logprobs": True},
        {"modalities": ["text", "audio"]},
    ],
)
def test_what_has_to_come_from_one_model_is_not_continued(fields: dict[str, Any]) -> None:
    assert not can_continue(chat_request(**fields))
    assert can_continue(chat_request(n=1, response_format={"type": "text"}))


def role_chunk(**delta: Any) -> Chunk:
    return Chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}])


def test_a_role_is_given_once() -> None:
    continuation = Continuation(SAID)

    assert continuation.joined(role_chunk(role="assistant", content="")).choices == []


def test_a_chunk_that_only_repeats_has_no_choices_left() -> None:
    continuation = Continuation(SAID)

    assert continuation.joined(chunk("It was")).choices == []
    assert continuation.joined(chunk(" late.")).choices[0]["delta"] == {"content": "It was late."}
    assert continuation.said == f"{SAID}It was late."


def test_what_is_held_back_comes_with_the_end_or_with_a_call() -> None:
    ending, calling = Continuation("a fox"), Continuation("a fox")

    ending.joined(chunk(" f"))
    calling.joined(chunk(" f"))

    assert ending.joined(chunk(finish_reason="stop")).choices[0]["delta"] == {"content": " f"}
    call = [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}]
    assert calling.joined(role_chunk(tool_calls=call)).choices[0]["delta"] == {"tool_calls": call, "content": " f"}


def test_fields_without_a_value_do_not_end_the_comparison() -> None:
    continuation = Continuation(SAID)

    assert continuation.joined(role_chunk(role="assistant", content="lazy ", refusal=None)).choices == []
    assert continuation.joined(chunk("dog. It was late.")).choices[0]["delta"] == {"content": " late."}
