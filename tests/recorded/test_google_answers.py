"""Every recorded answer of Google comes out as OpenAI's, whole and streamed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Chunk
from functions.gateway.wire import ChunkRenderer, render_answer
from functions.providers.google import google_upstream
from functions.providers.google.decode import decode_answer
from functions.providers.upstream import ProviderUpstream
from tests.builders import chat_request, deployment
from tests.recorded.exchanges import Exchange, recorded, response_only
from tests.recorded.replay import ReplayingProvider
from tests.recorded.stock_client import read_completion, read_stream

# Ours, beside LiteLLM's.
ALSO = frozenset({
    "annotations", "audio", "mime_type", "index", "text_tokens", "image_tokens", "video_tokens", "document_tokens",
    "cached_text_tokens", "cached_image_tokens", "cached_video_tokens", "cached_document_tokens", "traffic_type",
    "tool_use_prompt_tokens",
})  # fmt: skip

# Answers that are none, and why.
FAILED = {
    "generate-test-multimodal-tool-return-matrix-direct-url-force-down-64f03c": "UNEXPECTED_TOOL_CALL",
    "generate-test-gemini-tool-returning-float-3936d8": "without content",
    "generate-test-gemini-tool-returning-float-45678e": "without content",
    "generate-unary-failure-empty-content-3653a0": "without content",
    "generate-unary-success-empty-text-part-a75c02": "without content",
    "generate-unary-failure-with-message-no-content-be1c89": "OTHER",
}
BROKEN = {
    "stream-generate-streaming-failure-empty-content-399dbf": "no finish reason ever came",
    "stream-generate-streaming-success-quotes-escaped-4fb20b": "no finish reason ever came",
}
# Made by an SDK's authors after an early API: each event has a finish reason, and metadata of its own after it.
SEVERAL_ENDS = {
    "stream-generate-streaming-failure-recitation-no-content-0389cb",
    "stream-generate-streaming-failure-unknown-finish-enum-bc8d1f",
    "stream-generate-streaming-success-citations-324b9b",
    "stream-generate-streaming-success-utf8-6ba7e9",
}


def exchanges(cassettes: Path, api: str) -> list[Exchange]:
    both = [*recorded(cassettes, "google", api), *response_only(cassettes, "google", api)]
    return [_as_events(exchange) for exchange in both if exchange.is_ok]


def _as_events(exchange: Exchange) -> Exchange:
    """Give a stream that was recorded as one JSON array in the form that `alt=sse` asks for."""
    if not exchange.is_stream or exchange.sse is not None:
        return exchange
    headers = {name: value for name, value in exchange.headers.items() if name != "content-type"}
    return replace(exchange, headers=headers, sse=[f"data: {json.dumps(event)}" for event in exchange.body], body=None)


def events_of(exchange: Exchange) -> list[dict[str, Any]]:
    lines = (line for event in exchange.sse or () for line in event.splitlines())
    return [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]


async def test_every_recorded_whole_answer_is_a_strict_chat_completion(cassettes: Path) -> None:
    answered = exchanges(cassettes, "generateContent")
    failed: dict[str, UpstreamError] = {}
    provider = ReplayingProvider(answered[0])
    async with provider.client() as http:
        upstream = google_upstream(http)
        for exchange in answered:
            provider.exchange = exchange
            try:
                answer = await upstream.complete(chat_request(), deployment("gemini", "gemini-2.5-pro"))
            except UpstreamError as error:
                failed[exchange.id] = error
                continue
            rendered = render_answer(answer, model="gemini", fallback_id="chatcmpl-1", created=1)
            read_completion(rendered, also=ALSO)

    assert failed.keys() == FAILED.keys()
    assert all(reason in failed[name].message for name, reason in FAILED.items())
    assert {error.status for error in failed.values()} == {"invalid_response"}
    assert len(answered) > 150


async def test_every_recorded_stream_is_strict_chunks_that_add_up_to_the_whole_answer(cassettes: Path) -> None:
    streamed = exchanges(cassettes, "streamGenerateContent")
    broken: dict[str, int | str] = {}
    provider = ReplayingProvider(streamed[0])
    async with provider.client() as http:
        upstream = google_upstream(http)
        for exchange in streamed:
            provider.exchange = exchange
            try:
                chunks = await _chunks(upstream)
            except UpstreamError as error:
                broken[exchange.id] = error.status
                continue
            added_up = _added_up(chunks)
            if exchange.id not in SEVERAL_ENDS:
                assert added_up == _whole(events_of(exchange)), exchange.id

    assert broken == dict.fromkeys(BROKEN, "broken_stream")
    assert len(streamed) > 80


async def _chunks(upstream: ProviderUpstream) -> list[Chunk]:
    async with upstream.stream(chat_request(stream=True), deployment("gemini", "gemini-2.5-pro")) as chunks:
        return [chunk async for chunk in chunks]


def _added_up(chunks: list[Chunk]) -> list[dict[str, Any]]:
    """Put a stream together as the stock client does."""
    renderer = ChunkRenderer(model="gemini", fallback_id="chatcmpl-1", created=1, wants_usage=False)
    completion = read_stream(filter(None, map(renderer.render, chunks)), also=ALSO)
    return _comparable(completion.model_dump()["choices"])


def _whole(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Decode what the answer would have been without a stream: all parts of each candidate in one."""
    candidates: dict[int, dict[str, Any]] = {}
    parts: dict[int, list[dict[str, Any]]] = {}
    rest: dict[str, Any] = {}
    for event in events:
        rest |= {name: value for name, value in event.items() if name != "candidates"}
        for candidate in event.get("candidates") or ():
            index = candidate.get("index") or 0
            parts.setdefault(index, []).extend((candidate.get("content") or {}).get("parts") or [])
            said = {name: value for name, value in candidate.items() if name != "content"}
            candidates[index] = candidates.get(index, {}) | said
    whole = [{"content": {"parts": parts[index]}, **said} for index, said in candidates.items()]
    return _comparable(decode_answer({**rest, "candidates": whole}, lambda: "call_1").choices)


def _comparable(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_without_positions({**choice, "logprobs": choice.get("logprobs") or None}) for choice in choices]


def _without_positions(value: Any, name: str = "") -> Any:
    """Leave out what only a stream has: `index` in a list's entries, fields without a value; ids differ anyway."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if item is not None and key not in ("index", "parsed")}
        return {key: _without_positions(item, key) for key, item in kept.items()}
    if isinstance(value, list):
        return [_without_positions(item, name) for item in value]
    return value.partition("_")[0] if name == "id" and isinstance(value, str) else value


async def test_a_json_array_where_events_were_asked_for_is_an_invalid_response(cassettes: Path) -> None:
    both = recorded(cassettes, "google", "streamGenerateContent")
    exchange = next(exchange for exchange in both if isinstance(exchange.body, list) and exchange.is_ok)

    async with ReplayingProvider(exchange).client() as http:
        with pytest.raises(UpstreamError, match="invalid_response"):
            await _chunks(google_upstream(http))


@pytest.mark.parametrize("api", ["generateContent", "streamGenerateContent"])
def test_every_recorded_text_comes_out_whole(cassettes: Path, api: str) -> None:
    for exchange in exchanges(cassettes, api):
        events = events_of(exchange) if exchange.is_stream else [exchange.body]
        if exchange.id in FAILED or exchange.id in BROKEN:
            continue
        parts = [
            part
            for event in events
            for candidate in event.get("candidates") or ()
            for part in (candidate.get("content") or {}).get("parts") or ()
        ]
        said = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
        choices = _whole(events) if any(event.get("candidates") for event in events) else [{"message": {}}]

        assert (choices[0]["message"].get("content") or "") == said, exchange.id
