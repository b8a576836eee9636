"""Going on with a stream that broke off."""

from itertools import pairwise
from typing import Any, SupportsIndex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from functions.gateway.continuation import Continuation, Overlap, can_continue, continuing, longest_overlap
from functions.gateway.ports import Chunk
from tests.builders import chat_request, chunk

SAID = "The quick brown fox jumps over the lazy dog. It was"


def joined(said: str, *pieces: str) -> str:
    """What the client adds up."""
    overlap = Overlap(said)
    return said + "".join([overlap.feed(piece) for piece in pieces]) + overlap.end()


def cut(text: str, cuts: list[int]) -> list[str]:
    """The text in pieces."""
    places = [0, *sorted(cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


class Counted(str):
    """A text that counts how many characters of it, and of what it is compared with, are looked at."""

    __slots__ = ()
    looked_at = 0

    @override
    def find(self, needle: str, start: SupportsIndex | None = 0, *_: Any) -> int:
        at = super().find(needle, start)
        Counted.looked_at += len(needle) + (len(self) if at < 0 else at) - int(start or 0)
        return at

    @override
    def startswith(self, prefix: str | tuple[str, ...], *where: Any) -> bool:
        Counted.looked_at += len(prefix)
        return super().startswith(prefix, *where)

    @override
    def __getitem__(self, key: SupportsIndex | slice) -> str:
        part = Counted(super().__getitem__(key))
        Counted.looked_at += len(part)
        return part

    @override
    def __contains__(self, needle: str) -> bool:
        return self.find(needle) >= 0

    @override
    def __add__(self, other: str) -> str:
        Counted.looked_at += len(self) + len(other)
        return Counted(super().__add__(other))


def test_what_is_new_is_added_as_it_is() -> None:
    assert joined(SAID, " late", ".") == f"{SAID} late."


def test_the_end_of_what_was_said_is_not_repeated() -> None:
    assert joined(SAID, "the lazy", " dog. It was", " late.") == f"{SAID} late."


def test_an_answer_that_starts_over_is_taken_from_where_it_broke_off() -> None:
    assert joined(SAID, *f"{SAID} late.") == f"{SAID} late."


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("1", "1"),
        ("It was was", "was it?"),
        ("<td></td><td></td>", "<td></td></tr>"),
        ("It was very ", "very cold."),
        ("He laughed: ha", "ha!"),
        ("if a:\n  ", "  b()"),
    ],
)
def test_a_short_likeness_may_be_chance_and_is_kept(said: str, text: str) -> None:
    assert joined(said, text) == said + text


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("<tr>" + "<td></td>" * 3, "<td></td>" * 2 + "</tr>"),
        ("| Name |\n|" + "-" * 20, "-" * 16 + "|"),
        ("-" * 20, "-" * 20 + "|"),
        ("of all the people, by all the people, of all the people, ", "of all the people, for all the people"),
    ],
)
def test_a_text_that_repeats_itself_may_go_on_doing_so(said: str, text: str) -> None:
    assert joined(said, text) == said + text


@pytest.mark.parametrize(
    ("said", "text", "whole"),
    [
        ("The quick brown", "brown fox", "The quick brown fox"),
        ("Hello", "Hello world", "Hello world"),
        ("it jumps ", " over it", "it jumps over it"),
    ],
)
def test_a_word_or_a_blank_that_would_be_nonsense_twice_comes_once(said: str, text: str, whole: str) -> None:
    assert joined(said, text) == whole
    assert joined(said, *text) == whole


def test_a_continuation_that_ends_while_it_only_repeats_adds_nothing() -> None:
    assert joined(SAID, "lazy dog. ", "It was") == SAID


WORDS = st.lists(st.integers(0, 999), unique=True, min_size=1, max_size=30).map(
    lambda numbers: "".join(f"<{number:03}>" for number in numbers)
)


@given(said=WORDS, new=st.text(alphabet="xyz", min_size=1, max_size=20), data=st.data())
def test_however_it_is_cut_a_repetition_is_taken_off_and_nothing_else(said: str, new: str, data: st.DataObject) -> None:
    repeated = data.draw(st.integers(0, len(said)))
    text = said[len(said) - repeated :] + new
    pieces = cut(text, data.draw(st.lists(st.integers(0, len(text)), max_size=4)))

    assert joined(said, *pieces) == said + (new if repeated >= 8 else text)


def occurs(needle: str, text: str) -> int:
    """How often, overlaps included."""
    return sum(text.startswith(needle, at) for at in range(len(text)))


def repetition(said: str, text: str) -> str:
    """The longest, if it is long, was said once, and doesn't repeat its own first half."""
    longest = text[: max(count for count in range(len(text) + 1) if said.endswith(text[:count]))]
    is_distinct = occurs(longest, said) == occurs(longest[: len(longest) // 2], longest) == 1
    return longest if len(longest) >= 8 and is_distinct else ""


LIKE_ITSELF = st.lists(st.sampled_from("-+"), max_size=60).map("".join)
OF_FEW_WORDS = st.lists(st.sampled_from(["abcdef1", "abcdef1abc1x", "bcdef1ab", "x1", "ab1"]), max_size=12).map("".join)


OF_TWO_LETTERS = st.lists(st.sampled_from("ab"), min_size=16, max_size=24).map("".join)


@given(OF_TWO_LETTERS, OF_TWO_LETTERS, st.integers(1, 4))
def test_the_longest_overlap_is_found(said: str, text: str, at_least: int) -> None:
    longest = max(count for count in range(len(text) + 1) if said.endswith(text[:count]))

    assert longest_overlap(said, text, at_least=at_least) == (longest if longest >= at_least else 0)


@given(said=LIKE_ITSELF | OF_FEW_WORDS, new=LIKE_ITSELF | OF_FEW_WORDS, data=st.data())
def test_only_a_long_distinct_repetition_is_taken_off(said: str, new: str, data: st.DataObject) -> None:
    text = said[data.draw(st.integers(0, len(said))) :] + new
    pieces = cut(text, data.draw(st.lists(st.integers(0, len(text)), max_size=8)))

    assert joined(said, *pieces) == said + text.removeprefix(repetition(said, text))


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("a" * 20_000, "a" * 20_000 + "b"),
        ("a" * 20_000 + "b", "a" * 20_000 + "c"),
        ("a" * 10_000 + "b" + "a" * 9_999, "a" * 10_000 + "b" + "a" * 10_000),
        ("".join("a" * count + "b" for count in range(200)), "a" * 300),
        ("ab" * 10_000 + "c", "ab" * 10_000),
        ("".join(map(str, range(5_000))), "".join(map(str, range(5_000))) + "!"),
    ],
    ids=["equal", "equal to the end", "two halves", "ever longer", "in twos", "over again"],
)
def test_a_repetition_is_found_in_time_that_grows_as_its_length(said: str, text: str) -> None:
    overlap = Overlap(Counted(said))
    Counted.looked_at = 0

    for at in range(0, len(text), 4):
        overlap.feed(Counted(text[at : at + 4]))
    overlap.end()

    assert Counted.looked_at < 20 * (len(said) + len(text))


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


def test_a_deployment_that_thinks_first_is_compared_all_the_same() -> None:
    continuation = Continuation(SAID)

    thought = continuation.joined(role_chunk(reasoning_content="Where was I?"))
    assert thought.choices[0]["delta"] == {"reasoning_content": "Where was I?"}
    assert continuation.joined(chunk("the lazy dog.")).choices == []
    assert continuation.joined(role_chunk(reasoning_content="Ah.")).choices[0]["delta"] == {"reasoning_content": "Ah."}
    assert continuation.joined(chunk(" It was late.")).choices[0]["delta"] == {"content": " late."}


def test_what_is_held_back_comes_with_the_end_or_with_a_call() -> None:
    ending, calling = Continuation(SAID), Continuation(SAID)

    ending.joined(chunk(" f"))
    calling.joined(chunk(" f"))

    assert ending.joined(chunk(finish_reason="stop")).choices[0]["delta"] == {"content": " f"}
    call = [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}]
    assert calling.joined(role_chunk(tool_calls=call)).choices[0]["delta"] == {"tool_calls": call, "content": " f"}


def test_fields_without_a_value_do_not_end_the_comparison() -> None:
    continuation = Continuation(SAID)

    assert continuation.joined(role_chunk(role="assistant", content="lazy ", refusal=None)).choices == []
    assert continuation.joined(chunk("dog. It was late.")).choices[0]["delta"] == {"content": " late."}
