"""Every recorded answer of OpenAI reaches the stock client whole, streamed and not."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Answer, Chunk
from functions.gateway.run import OpenAttempt
from functions.gateway.wire import ChunkRenderer, render_answer, render_embeddings
from functions.providers.openai import OpenAIWire, openai_embedder, openai_upstream
from functions.providers.openai.embeddings import OpenAIEmbeddings
from functions.providers.sse import DataFramer
from tests import builders
from tests.recorded.exchanges import Exchange, recorded, response_only
from tests.recorded.fields import Path as FieldPath
from tests.recorded.fields import changed, leaves, place
from tests.recorded.openai_fields import ANSWER, MAPPED, RARE, STREAM, entry_of
from tests.recorded.replay import ReplayingProvider
from tests.recorded.stock_client import read_completion, read_stream

SAMPLES = 3  # exchanges in which a place is changed to see it mapped
GPT = builders.deployment("openai", "gpt-4o")
# OpenAI's and Azure's own additions, which the `openai` package doesn't model.
UNMODELLED = frozenset({
    "obfuscation", "prompt_filter_results", "content_filter_results", "finish_details", "content_filter_offsets",
})  # fmt: skip


def exchanges(cassettes: Path, *, stream: bool) -> list[Exchange]:
    every = [
        *recorded(cassettes, "openai", "chat.completions"),
        *response_only(cassettes, "openai", "chat.completions"),
    ]
    good = [exchange for exchange in every if exchange.is_ok and "error" not in (exchange.body or {})]
    return [exchange for exchange in good if (exchange.sse is not None) is stream]


async def ask(exchange: Exchange) -> Answer:
    async with ReplayingProvider(exchange).client() as client:
        return await openai_upstream(client).complete(builders.chat_request(), GPT)


async def ask_for_stream(exchange: Exchange) -> list[Chunk]:
    async with (
        ReplayingProvider(exchange).client() as client,
        openai_upstream(client).stream(builders.chat_request(stream=True), GPT) as chunks,
    ):
        return [chunk async for chunk in chunks]


def rendered(chunks: list[Chunk], *, is_legacy: bool = False) -> Iterator[bytes]:
    """What a client gets that asked for usage."""
    renderer = ChunkRenderer(model="gpt-4o", fallback_id="chatcmpl-0", created=1, wants_usage=True, is_legacy=is_legacy)
    attempt = OpenAttempt(builders.deployment(), builders.chat_request(stream=True), started=0)
    for chunk in chunks:
        attempt.follow(chunk)
        if event := renderer.render(chunk):
            yield event
    yield renderer.render_usage(attempt.final_usage, attempt.usage_details)


def events_of(exchange: Exchange) -> list[dict[str, Any]]:
    pieces = DataFramer().feed(exchange.content)
    return [json.loads(piece) if piece != b"[DONE]" else {"type": "[DONE]"} for piece in pieces]


def added_up(events: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Add the recorded deltas up, independently of the gateway and of the stock client."""
    whole: dict[int, dict[str, Any]] = {}
    for choice in (choice for event in events for choice in event.get("choices") or ()):
        said = whole.setdefault(choice["index"], {"content": "", "refusal": "", "calls": {}, "finish_reason": None})
        delta = choice.get("delta") or {}
        said["content"] += delta.get("content") or ""
        said["refusal"] += delta.get("refusal") or ""
        said["finish_reason"] = choice.get("finish_reason") or said["finish_reason"]
        for call in delta.get("tool_calls") or ():
            known = said["calls"].setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
            known["id"] += call.get("id") or ""
            known["name"] += call["function"].get("name") or ""
            known["arguments"] += call["function"].get("arguments") or ""
    return whole


async def test_every_recorded_answer_is_a_strict_completion_with_nothing_changed(cassettes: Path) -> None:
    seen = 0
    for exchange in exchanges(cassettes, stream=False):
        raw = render_answer(await ask(exchange), model="gpt-4o", fallback_id="chatcmpl-0", created=1)
        read_completion(raw, also=UNMODELLED)

        assert missing(exchange.body, json.loads(raw)) <= {"choices[].finish_reason"}, exchange.id
        seen += 1
    assert seen > 120


def missing(said: Any, got: Any) -> set[str]:
    """Name the places whose value is not the provider's own, besides the model's name."""
    after = dict(leaves(got))
    return {place(path) for path, value in leaves(said) if after.get(path, ...) != value} - {"model"}


async def test_every_recorded_stream_adds_up_to_what_was_said(cassettes: Path) -> None:
    seen = 0
    for exchange in exchanges(cassettes, stream=True):
        if {"truncated_stream", "error"} & exchange.features:
            continue
        whole = read_stream(rendered(await ask_for_stream(exchange)), also=UNMODELLED)

        expected = added_up(events_of(exchange))
        assert head_of(whole.to_dict()) == head_of(first_with_choices(events_of(exchange))), exchange.id
        assert {choice.index for choice in whole.choices} == expected.keys(), exchange.id
        for choice in whole.choices:
            assert as_added_up(choice.to_dict()) == expected[choice.index], exchange.id
        seen += 1
    assert seen > 55


def head_of(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body.get(name) for name in ("id", "created", "service_tier", "system_fingerprint")}


def first_with_choices(events: list[dict[str, Any]]) -> dict[str, Any]:
    return next(event for event in events if event.get("choices"))


def as_added_up(choice: Mapping[str, Any]) -> dict[str, Any]:
    message = choice["message"]
    calls = {
        index: {
            "id": call["id"],
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
        }
        for index, call in enumerate(message.get("tool_calls") or ())
    }
    return {
        "content": message.get("content") or "",
        "refusal": message.get("refusal") or "",
        "calls": calls,
        "finish_reason": choice["finish_reason"],
    }


async def test_a_recorded_streams_usage_is_billed_and_shown(cassettes: Path) -> None:
    for exchange in exchanges(cassettes, stream=True):
        reported = [event["usage"] for event in events_of(exchange) if event.get("usage")]
        if not reported or "truncated_stream" in exchange.features:
            continue
        *_, last = rendered(await ask_for_stream(exchange))

        shown = json.loads(last.removeprefix(b"data: "))["usage"]
        assert missing({"usage": reported[-1]}, {"usage": shown}) == set(), exchange.id


async def test_every_recorded_embedding_reaches_the_client_in_its_encoding(cassettes: Path) -> None:
    seen = 0
    for exchange in recorded(cassettes, "openai", "embeddings"):
        if not exchange.is_ok:
            continue
        async with ReplayingProvider(exchange).client() as client:
            request = builders.embedding_request(**exchange.request)
            embeddings = await openai_embedder(client).embed(request, GPT)
        wanted = exchange.request.get("encoding_format")
        assert embeddings.usage is not None
        raw = render_embeddings(embeddings, embeddings.usage, model=exchange.body["model"], encoding_format=wanted)

        assert json.loads(raw) == exchange.body, exchange.id
        seen += 1
    assert seen > 5


def test_every_field_of_an_embedding_is_read(cassettes: Path) -> None:
    for exchange in recorded(cassettes, "openai", "embeddings"):
        if exchange.is_ok:
            found = {place(path) for path, _ in leaves(exchange.body)}
            read = {"data[].embedding", "data[].embedding[]", "data[].index", "model", "usage.prompt_tokens"}
            constant = {"object", "data[].object", "usage.total_tokens"}
            assert found <= read | constant, exchange.id
            assert OpenAIEmbeddings().decode(exchange.body).response_model == exchange.body["model"]


def test_every_field_of_an_answer_is_accounted_for(cassettes: Path) -> None:
    found = {place(path) for exchange in exchanges(cassettes, stream=False) for path, _ in leaves(exchange.body)}

    assert {name for name in found if entry_of(name, ANSWER) is None} == set()
    assert ANSWER.keys() - {entry_of(name, ANSWER) for name in found} <= RARE


def test_every_field_of_a_stream_is_accounted_for(cassettes: Path) -> None:
    events = [event for exchange in exchanges(cassettes, stream=True) for event in events_of(exchange)]
    found = {place(path) for event in events if "error" not in event for path, _ in leaves(event)} - {"type"}

    assert {name for name in found if entry_of(name, STREAM) is None} == set()
    assert STREAM.keys() - {entry_of(name, STREAM) for name in found} <= RARE


def outcome(body: dict[str, Any]) -> str:
    try:
        answer = OpenAIWire().decode(body)
        usage, model = answer.usage, answer.response_model
        return repr((render_answer(answer, model="gpt-4o", fallback_id="chatcmpl-0", created=1), usage, model))
    except (UpstreamError, KeyError, TypeError, AttributeError) as error:  # no answer, and said so
        return repr(error)


def stream_outcome(events: list[dict[str, Any]]) -> str:
    decoder = OpenAIWire().stream_decoder()
    copied = json.loads(json.dumps(events))  # the decoder writes into what it is given
    try:
        chunks = [chunk for event in copied for chunk in decoder.decode(event)]
        models = [chunk.response_model for chunk in chunks]
        return repr((list(rendered(chunks)), models))
    except (UpstreamError, KeyError, TypeError, AttributeError) as error:
        return repr(error)


class Probe:
    """Changes mapped places, each in a few exchanges, until the outcome was seen to change with it."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._table = table
        self._tried: Counter[str] = Counter()
        self._shown: set[str] = set()

    def wants(self, name: str) -> bool:
        mapped = self._table[entry_of(name, self._table) or ""] == MAPPED
        return mapped and name not in self._shown and self._tried[name] < SAMPLES

    def note(self, name: str, *, has_changed: bool) -> None:
        self._tried[name] += 1
        if has_changed:
            self._shown.add(name)

    @property
    def unseen(self) -> set[str]:
        return self._tried.keys() - self._shown


def copied(body: Any) -> Any:
    return json.loads(json.dumps(body))


def test_every_mapped_field_of_an_answer_shows(cassettes: Path) -> None:
    probe = Probe(ANSWER)
    for exchange in exchanges(cassettes, stream=False):
        before = outcome(copied(exchange.body))
        for path, _ in leaves(exchange.body):
            if probe.wants(place(path)):
                after = outcome(changed(exchange.body, path))
                probe.note(place(path), has_changed=after != before)

    assert probe.unseen == set()


def test_every_mapped_field_of_a_stream_shows(cassettes: Path) -> None:
    probe = Probe(STREAM)
    for exchange in exchanges(cassettes, stream=True):
        events = [event for event in events_of(exchange) if "error" not in event]
        for position, path in paths_of(events, probe.wants):
            edited = [*events[:position], changed(events[position], path), *events[position + 1 :]]
            probe.note(place(path), has_changed=stream_outcome(edited) != stream_outcome(events))

    assert probe.unseen == set()


def paths_of(events: list[dict[str, Any]], wants: Callable[[str], bool]) -> Iterator[tuple[int, FieldPath]]:
    for position, event in enumerate(events):
        for path, _ in leaves(event):
            if path != ("type",) and wants(place(path)):
                yield position, path
