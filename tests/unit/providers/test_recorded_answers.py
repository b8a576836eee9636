"""Every recorded answer of the three wires decodes, with its text, its calls and its usage."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from events.spend import Usage
from functions.gateway.ports import Answer, Chunk
from functions.providers.anthropic import AnthropicWire
from functions.providers.google import GoogleWire
from functions.providers.openai import OpenAIWire
from functions.providers.sse import DataFramer
from functions.providers.upstream import StreamDecoder, Wire

WIRES: dict[str, Wire] = {"anthropic": AnthropicWire(), "google": GoogleWire(), "openai": OpenAIWire()}
APIS = {"messages", "chat.completions", "generateContent", "streamGenerateContent"}
FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter", "function_call"}
# Recorded answers that are none: the model failed to write a call, or nothing came of it.
FAILED = {"UNEXPECTED_TOOL_CALL", "MALFORMED_FUNCTION_CALL", "OTHER"}
EMPTY = '"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount"'


def exchanges(cassettes: Path, provider: str, *, stream: bool) -> Iterator[dict[str, Any]]:
    for path in sorted((cassettes / provider).glob("*.json")):
        exchange = json.loads(path.read_text())
        is_chat = exchange["api"] in APIS and exchange["response"]["status"] == 200
        if is_chat and exchange["stream"] is stream and not _has_failed(exchange["response"]):
            yield exchange


def _has_failed(response: dict[str, Any]) -> bool:
    said = json.dumps(response)
    return EMPTY in said or any(f'"finishReason": "{reason}"' in said for reason in FAILED)


def events_of(response: dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(response.get("body"), list):
        return response["body"]
    eol = response.get("sse_eol") or "\n"
    wire = "".join(event + eol * 2 for event in response["sse"]).encode()
    return [json.loads(data) if data != b"[DONE]" else {"type": "[DONE]"} for data in DataFramer().feed(wire)]


def merged(decoder: StreamDecoder, events: list[dict[str, Any]]) -> tuple[dict[int, dict[str, Any]], list[Chunk]]:
    """Put a stream's chunks together, as a client does."""
    choices: dict[int, dict[str, Any]] = {}
    chunks = [chunk for event in events for chunk in decoder.decode(event)]
    for chunk in chunks:
        for choice in chunk.choices:
            whole = choices.setdefault(choice["index"], {"content": "", "calls": {}, "finish_reason": None})
            delta = choice.get("delta") or {}
            whole["content"] += delta.get("content") or ""
            whole["finish_reason"] = choice.get("finish_reason") or whole["finish_reason"]
            for call in delta.get("tool_calls") or ():
                known = whole["calls"].setdefault(call["index"], {"id": call.get("id"), "name": "", "arguments": ""})
                function = call.get("function") or {}
                known["name"] += function.get("name") or ""
                known["arguments"] += function.get("arguments") or ""
    return choices, chunks


def anthropic_usage(usage: dict[str, Any]) -> Usage:
    read, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    hour = (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    return Usage(
        input_tokens=(usage.get("input_tokens") or 0) + read + written,
        output_tokens=usage["output_tokens"],
        cache_read_tokens=read,
        cache_write_5m_tokens=written - hour,
        cache_write_1h_tokens=hour,
        reasoning_tokens=(usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
    )


def openai_totals(body: dict[str, Any]) -> tuple[int, int]:
    return body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]


def google_totals(body: dict[str, Any]) -> tuple[int, int]:
    usage = body["usageMetadata"]
    output = (usage.get("candidatesTokenCount") or 0) + (usage.get("thoughtsTokenCount") or 0)
    return usage["totalTokenCount"] - output, output


def anthropic_totals(body: dict[str, Any]) -> tuple[int, int]:
    compactions = [one for one in body["usage"].get("iterations") or () if one["type"] == "compaction"]
    counted = [anthropic_usage(usage) for usage in (body["usage"], *compactions)]  # no total includes a compaction
    return sum(usage.input_tokens for usage in counted), sum(usage.output_tokens for usage in counted)


def text_of_anthropic(body: dict[str, Any]) -> str:
    return "".join(block["text"] for block in body["content"] if block["type"] == "text")


def text_of_google(body: dict[str, Any]) -> str:
    parts = (body["candidates"][0].get("content") or {}).get("parts") or []
    return "".join(part.get("text") or "" for part in parts if not part.get("thought"))


def text_of_openai(body: dict[str, Any]) -> str:
    return body["choices"][0]["message"].get("content") or ""


@pytest.mark.parametrize(
    ("provider", "text_of", "totals_of"),
    [
        ("anthropic", text_of_anthropic, anthropic_totals),
        ("google", text_of_google, google_totals),
        ("openai", text_of_openai, openai_totals),
    ],
)
def test_every_recorded_whole_answer_decodes(
    cassettes: Path,
    provider: str,
    text_of: Callable[[dict[str, Any]], str],
    totals_of: Callable[[dict[str, Any]], tuple[int, int]],
) -> None:
    seen = 0
    for exchange in exchanges(cassettes, provider, stream=False):
        body = exchange["response"]["body"]
        answer: Answer = WIRES[provider].decode(body)

        assert (answer.choices[0]["message"].get("content") or "") == text_of(body), exchange["id"]
        assert {choice.get("finish_reason", "stop") for choice in answer.choices} <= FINISH_REASONS, exchange["id"]
        assert answer.usage is not None
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == totals_of(body), exchange["id"]
        seen += 1
    assert seen > 100


@pytest.mark.parametrize("provider", ["anthropic", "google", "openai"])
def test_every_recorded_stream_decodes_to_its_end(cassettes: Path, provider: str) -> None:
    seen = 0
    for exchange in exchanges(cassettes, provider, stream=True):
        if "truncated_stream" in exchange["features"] or "error" in exchange["features"]:
            continue
        decoder = WIRES[provider].stream_decoder()
        choices, chunks = merged(decoder, events_of(exchange["response"]))

        assert decoder.is_complete, exchange["id"]
        assert {choice["finish_reason"] for choice in choices.values()} <= FINISH_REASONS, exchange["id"]
        for choice in choices.values():
            assert all(isinstance(json.loads(call["arguments"]), dict) for call in choice["calls"].values())
        if "include_usage" in exchange["features"] or provider != "openai":
            assert any(chunk.usage for chunk in chunks), exchange["id"]
        seen += 1
    assert seen > 50


def test_a_recorded_anthropic_stream_has_its_text_and_its_usage(cassettes: Path) -> None:
    for exchange in exchanges(cassettes, "anthropic", stream=True):
        events = events_of(exchange["response"])
        deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
        last = [event for event in events if event["type"] == "message_delta"]
        if not last:
            continue
        choices, chunks = merged(WIRES["anthropic"].stream_decoder(), events)

        assert choices[0]["content"] == "".join(delta.get("text") or "" for delta in deltas), exchange["id"]
        usages = [chunk.usage for chunk in chunks if chunk.usage]
        assert usages[-1].output_tokens == anthropic_totals(last[-1])[1], exchange["id"]


def test_a_recorded_google_stream_has_its_text_and_its_calls(cassettes: Path) -> None:
    for exchange in exchanges(cassettes, "google", stream=True):
        events = events_of(exchange["response"])
        parts = [part for event in events for part in _google_parts(event)]
        choices, _ = merged(WIRES["google"].stream_decoder(), events)
        if not choices:
            continue

        texts = "".join(part.get("text") or "" for part in parts if not part.get("thought"))
        assert choices[0]["content"] == texts, exchange["id"]
        called = [part["functionCall"]["name"] for part in parts if "functionCall" in part]
        assert [call["name"] for call in choices[0]["calls"].values()] == called, exchange["id"]


def _google_parts(event: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        part
        for candidate in event.get("candidates") or ()
        for part in (candidate.get("content") or {}).get("parts") or ()
    ]
