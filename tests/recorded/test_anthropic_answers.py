"""Every recorded answer of Anthropic comes out as OpenAI's objects, streamed and not, and nothing of it is lost."""

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from functions.bootstrap import load_catalog
from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Chunk
from functions.providers.anthropic import anthropic_upstream
from functions.providers.anthropic.decode import decode_answer
from functions.providers.anthropic.encode import encode_request
from functions.providers.anthropic.stream import AnthropicStream
from tests import builders
from tests.recorded.anthropic_completions import comparable, completion, streamed_completion
from tests.recorded.anthropic_fields import ANSWER, MAPPED, RARE, STREAM, entry_of
from tests.recorded.anthropic_messages import message_of, streams_of
from tests.recorded.anthropic_reading import reading_of_completion, reading_of_message
from tests.recorded.exchanges import Exchange, recorded, response_only
from tests.recorded.fields import Path as FieldPath
from tests.recorded.fields import changed, leaves, place
from tests.recorded.replay import ReplayingProvider

SAMPLES = 20  # exchanges per place that are changed to see it mapped
CLAUDE = builders.deployment("anthropic", "claude-sonnet-4-5")
THINKING = builders.deployment(
    "anthropic", "claude-opus-5", model=load_catalog().models["anthropic", "claude-opus-5"]
)  # by default


def exchanges(cassettes: Path, *, stream: bool) -> list[Exchange]:
    every = [*recorded(cassettes, "anthropic", "messages"), *response_only(cassettes, "anthropic", "messages")]
    return [exchange for exchange in every if exchange.is_ok and (exchange.sse is not None) is stream]


async def ask(exchange: Exchange) -> dict[str, Any]:
    async with ReplayingProvider(exchange).client() as client:
        return completion(await anthropic_upstream(client).complete(builders.chat_request(), CLAUDE))


async def ask_for_stream(exchange: Exchange) -> list[Chunk]:
    async with ReplayingProvider(exchange).client() as client:
        request = builders.chat_request(stream=True)
        async with anthropic_upstream(client).stream(request, CLAUDE) as chunks:
            return [chunk async for chunk in chunks]


async def test_every_recorded_answer_is_an_openai_completion(cassettes: Path) -> None:
    seen = [await ask(exchange) for exchange in exchanges(cassettes, stream=False)]

    assert len(seen) > 150
    assert all(answer["choices"][0]["finish_reason"] for answer in seen)


async def test_every_recorded_answer_says_what_the_message_says(cassettes: Path) -> None:
    for exchange in exchanges(cassettes, stream=False):
        expected = reading_of_message(exchange.body)

        assert reading_of_completion(await ask(exchange)) == expected, exchange.id


async def test_every_recorded_stream_says_what_the_message_says(cassettes: Path) -> None:
    seen = 0
    for exchange in exchanges(cassettes, stream=True):
        events, *_ = streams_of(exchange.content)
        if is_whole(events):
            streamed = streamed_completion(await ask_for_stream(exchange))

            assert reading_of_completion(streamed) == reading_of_message(message_of(events)), exchange.id
            seen += 1
    assert seen > 90


async def test_every_recorded_stream_adds_up_to_what_the_whole_answer_is(cassettes: Path) -> None:
    seen = 0
    for exchange in exchanges(cassettes, stream=True):
        events, *_ = streams_of(exchange.content)
        if not is_whole(events):
            with pytest.raises(UpstreamError):
                await ask_for_stream(exchange)
            continue
        whole = completion(decode_answer(message_of(events)))

        assert comparable(streamed_completion(await ask_for_stream(exchange))) == comparable(whole), exchange.id
        seen += 1
    assert seen > 90


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_echoed_goes_back_as_it_came(cassettes: Path, stream: bool) -> None:
    """A client that gives back the message it was given loses nothing of the provider's blocks."""
    seen = 0
    for body in (message_of(events) for events in streams(cassettes)) if stream else whole_answers(cassettes):
        echoed = completion(decode_answer(copy.deepcopy(body)))["choices"][0]["message"]
        if is_echoed_whole(body):
            calls = [block["id"] for block in body["content"] if block["type"] == "tool_use"]
            results = [{"role": "tool", "tool_call_id": call, "content": "ok"} for call in calls]
            messages = [{"role": "user", "content": "?"}, echoed, *results, {"role": "user", "content": "!"}]

            asked = builders.chat_request(messages=messages)
            turn = encode_request(asked, THINKING)["messages"][1]

            assert without_callers(turn["content"]) == without_callers(body["content"]), body["id"]
            seen += 1
    assert seen > 90


def is_echoed_whole(body: dict[str, Any]) -> bool:
    """Say whether there is something to echo: neither an empty text nor a call that was cut off is sent."""
    texts = [block.get("text") for block in body["content"]]
    return bool(texts) and "" not in texts and body["stop_reason"] != "max_tokens"


def whole_answers(cassettes: Path) -> list[dict[str, Any]]:
    return [exchange.body for exchange in exchanges(cassettes, stream=False)]


def without_callers(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A direct call is what a call without a caller is, and no citations are what an empty list of them is."""
    return [
        {
            name: value
            for name, value in block.items()
            if (name, value) not in (("caller", {"type": "direct"}), ("citations", []), ("citations", None))
        }
        for block in blocks
    ]


def shown(path: FieldPath, kinds: dict[int, str]) -> str:
    """Name a leaf's place, with its block's type; what a tool is called with is one place."""
    names: list[str] = []
    for position, part in enumerate(path):
        if isinstance(part, int):
            names.append("[]")
        elif position == 2 and path[0] == "content" and isinstance(path[1], int):
            names.append(f"<{kinds[path[1]]}>.{part}")
        else:
            names.append(f".{part}")
        if part == "input" and position == 2:
            break
    return "".join(names).lstrip(".")


def places(body: dict[str, Any]) -> list[tuple[str, FieldPath]]:
    kinds = {index: block["type"] for index, block in enumerate(body["content"])}
    return [(shown(path, kinds), path) for path, _ in leaves(body)]


def test_every_field_of_an_answer_is_accounted_for(cassettes: Path) -> None:
    found = {name for exchange in exchanges(cassettes, stream=False) for name, _ in places(exchange.body)}

    assert unlisted(found, ANSWER) == set()
    assert unused(found, ANSWER) == set()


def test_every_field_of_a_stream_is_accounted_for(cassettes: Path) -> None:
    found = {name for events in streams(cassettes) for event in events for name, _ in event_places(event)}

    assert unlisted(found, STREAM) == set()
    assert unused(found, STREAM) == set()


def streams(cassettes: Path) -> list[list[dict[str, Any]]]:
    """Give the events of every stream that came to its end."""
    every = [stream for exchange in exchanges(cassettes, stream=True) for stream in streams_of(exchange.content)]
    return [events for events in every if is_whole(events)]


def is_whole(events: list[dict[str, Any]]) -> bool:
    """Say whether these are one message to its end."""
    kinds = [event["type"] for event in events]
    return kinds[-1] == "message_stop" and kinds.count("message_start") == 1


def unlisted(found: set[str], table: dict[str, str]) -> set[str]:
    return {name for name in found if entry_of(name, table) is None}


def unused(found: set[str], table: dict[str, str]) -> set[str]:
    return table.keys() - {entry_of(name, table) for name in found} - RARE


def is_mapped(name: str, table: dict[str, str]) -> bool:
    entry = entry_of(name, table)
    return entry is not None and table[entry] == MAPPED


def test_every_field_that_is_mapped_shows_in_the_completion(cassettes: Path) -> None:
    tried: Counter[str] = Counter()
    shown_places: set[str] = set()
    for exchange in exchanges(cassettes, stream=False):
        before = outcome(exchange.body)
        for name, path in places(exchange.body):
            if is_mapped(name, ANSWER) and name not in shown_places and tried[name] < SAMPLES:
                tried[name] += 1
                if outcome(changed(exchange.body, path)) != before:
                    shown_places.add(name)

    assert tried.keys() - shown_places == set()


def outcome(body: dict[str, Any]) -> str:
    try:
        return repr(decode_answer(body))
    except (UpstreamError, KeyError, TypeError, AttributeError) as error:  # no answer, and said so
        return repr(error)


def test_every_field_that_is_mapped_shows_in_the_stream(cassettes: Path) -> None:
    tried: Counter[str] = Counter()
    shown_places: set[str] = set()
    for events in streams(cassettes):
        for position, event in enumerate(events):
            for name, path in event_places(event):
                if is_mapped(name, STREAM) and name not in shown_places and tried[name] < SAMPLES:
                    tried[name] += 1
                    edited = [*events[:position], changed(event, path), *events[position + 1 :]]
                    if stream_outcome(edited) != stream_outcome(events):
                        shown_places.add(name)

    assert tried.keys() - shown_places == set()


def event_name(event: dict[str, Any]) -> str:
    inner = event.get("content_block") or event.get("delta") or {}
    return f"{event['type']}<{inner['type']}>" if "type" in inner else event["type"]


def event_places(event: dict[str, Any]) -> list[tuple[str, FieldPath]]:
    named: list[tuple[str, FieldPath]] = []
    for path, _ in leaves(event):
        parts = path[: path.index("input") + 1] if "input" in path else path
        named.append((f"{event_name(event)} {place(parts)}", path))
    return named


def stream_outcome(events: list[dict[str, Any]]) -> str:
    """Decode fresh events, as a decoder keeps what it is given."""
    decoder = AnthropicStream()
    try:
        chunks = [chunk for event in copy.deepcopy(events) for chunk in decoder.decode(event)]
    except (UpstreamError, KeyError, TypeError, AttributeError, ValueError) as error:
        return repr(error)
    return repr((chunks, decoder.is_complete))
