"""Whatever the edge lets through, each wire encodes or refuses in its own words, and never fails."""

import json
from contextlib import suppress
from typing import Any

import pytest

from events.spend import Usage
from functions.bootstrap import load_catalog
from functions.gateway.errors import BadRequest, UpstreamError
from functions.gateway.ports import Deployment
from functions.gateway.wire import parse_chat_request
from functions.providers.anthropic import AnthropicWire
from functions.providers.counts import NoCount, count
from functions.providers.google import GoogleWire
from functions.providers.openai import OpenAIWire
from functions.providers.upstream import Wire
from tests.builders import deployment

USER: dict[str, Any] = {"role": "user", "content": "hi"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
CUSTOM = {"id": "call_2", "type": "custom", "custom": {"name": "c", "input": "4 + 4"}}
TOOL = {"type": "function", "function": {"name": "f"}}
CUSTOM_TOOL = {"type": "custom", "custom": {"name": "c"}}


def wires() -> dict[str, tuple[Wire, Deployment]]:
    known = load_catalog().models
    chosen: dict[str, tuple[Wire, str]] = {
        "openai": (OpenAIWire(), "gpt-4o"),
        "anthropic": (AnthropicWire(), "claude-sonnet-4-6"),
        "gemini": (GoogleWire(), "gemini-2.5-pro"),
    }
    return {name: (wire, deployment(name, model, model=known[name, model])) for name, (wire, model) in chosen.items()}


def asking(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages) or [USER], **fields}


def part(**fields: Any) -> dict[str, Any]:
    return asking({"role": "user", "content": [fields]})


BODIES: dict[str, dict[str, Any]] = {
    "custom tool": asking(tools=[CUSTOM_TOOL]),
    "chosen custom tool": asking(tools=[CUSTOM_TOOL], tool_choice={"type": "custom", "custom": {"name": "c"}}),
    "allowed tools": asking(
        tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}}
    ),
    "allowed nothing": asking(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": {}}),
    "another's tool": asking(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    "unknown tool": asking(tools=[{"type": "later"}]),
    "custom call": asking(USER, {"role": "assistant", "content": None, "tool_calls": [CUSTOM]}),
    "custom result": asking(
        USER,
        {"role": "assistant", "tool_calls": [CUSTOM]},
        {"role": "tool", "tool_call_id": "call_2", "content": "8"},
    ),
    "call without arguments": asking(USER, {"role": "assistant", "tool_calls": [CALL]}),
    "nulls": asking({"role": "assistant", "content": None, "tool_calls": None, "function_call": None}),
    "bare assistant": asking(USER, {"role": "assistant"}),
    "empty texts": asking({"role": "system", "content": ""}, {"role": "user", "content": ""}),
    "empty parts": asking({"role": "user", "content": []}),
    "audio": part(type="input_audio", input_audio={"data": "AAA=", "format": "wav"}),
    "audio of a later kind": part(type="input_audio", input_audio={"data": "%%", "format": "later"}),
    "file by id": part(type="file", file={"file_id": "file-1"}),
    "inline file": part(type="file", file={"file_data": "data:application/pdf;base64,AAA="}),
    "bare base64 file": part(type="file", file={"file_data": "AAA=", "filename": "a.pdf"}),
    "file at a url": part(type="file", file={"file_id": "https://example.com/a.pdf"}),
    "image": part(type="image_url", image_url="https://example.com/a.png"),
    "image in a bucket": part(type="image_url", image_url={"url": "gs://bucket/a.png"}),
    "odd data url": part(type="image_url", image_url={"url": "data:,x"}),
    "refusal": asking(USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}),
    "functions": asking(functions=[{"name": "f"}], function_call={"name": "f"}),
    "function result": asking(
        USER,
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": None},
    ),
    "schema without a schema": asking(response_format={"type": "json_schema", "json_schema": {"name": "a"}}),
    "odd options": asking(thinking={}, reasoning_effort="later", service_tier="later", modalities=["later"], audio={}),
    "nulls everywhere": asking(tools=None, stop=None, n=None, response_format=None, stream_options=None, user=None),
    "several": asking(
        n=3, stop=["a"] * 9, logit_bias={"1": 1}, prediction={}, web_search_options={}, metadata={"a": 1}
    ),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("drop_params", [True, False])
def test_a_wire_encodes_or_refuses(provider: str, name: str, drop_params: bool) -> None:
    wire, to = wires()[provider]
    request = parse_chat_request(json.dumps(BODIES[name]).encode(), drop_params=drop_params)

    with suppress(BadRequest, UpstreamError):
        assert json.dumps(wire.encode(request, to))
        wire.dropped_params(request, to)


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
@pytest.mark.parametrize("name", ["custom tool", "chosen custom tool", "custom result"])
def test_a_custom_tool_is_left_to_a_model_that_has_them(provider: str, name: str) -> None:
    wire, to = wires()[provider]

    with pytest.raises(UpstreamError) as refused:
        wire.encode(parse_chat_request(json.dumps(BODIES[name]).encode(), drop_params=True), to)
    assert refused.value.status == "unsupported_content"


# --- usage -----------------------------------------------------------------------------------------

PLACES = {
    "openai": ["prompt_tokens", "completion_tokens", "prompt_tokens_details.cached_tokens"],
    "anthropic": ["input_tokens", "output_tokens", "cache_read_input_tokens", "output_tokens_details.thinking_tokens"],
    "gemini": ["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"],
}
EVERY_PLACE = [(provider, place) for provider, places in PLACES.items() for place in places]


def answering(provider: str, usage: Any) -> dict[str, Any]:
    """A whole answer of a provider's, with this usage."""
    answers: dict[str, dict[str, Any]] = {
        "openai": {"choices": [{"message": {"content": "hi"}}], "usage": usage},
        "anthropic": {"type": "message", "content": [{"type": "text", "text": "hi"}], "usage": usage},
        "gemini": {"candidates": [{"content": {"parts": [{"text": "hi"}]}}], "usageMetadata": usage},
    }
    return answers[provider]


def reported(provider: str, place: str, value: Any) -> dict[str, Any]:
    """A provider's usage with one odd count."""
    usage: dict[str, Any] = {name: 1 for name in PLACES[provider] if "." not in name}
    *nested, name = place.split(".")
    return {**usage, nested[0]: {name: value}} if nested else {**usage, name: value}


def usage_read(provider: str, usage: Any) -> Usage | None:
    return wires()[provider][0].decode(answering(provider, usage)).usage


@pytest.mark.parametrize("value", ["5", -1, 5.5, True, [5], {}, 10**30])
@pytest.mark.parametrize(("provider", "place"), EVERY_PLACE)
def test_a_count_that_is_none_leaves_the_usage_unreported(provider: str, place: str, value: Any) -> None:
    assert usage_read(provider, reported(provider, place, value)) is None


@pytest.mark.parametrize("provider", PLACES)
def test_a_count_may_be_written_as_a_whole_float(provider: str) -> None:
    whole, as_float = (usage_read(provider, reported(provider, PLACES[provider][0], value)) for value in (5, 5.0))

    assert repr(as_float) == repr(whole)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -0.5, "", b"5"])
def test_what_is_no_count_says_so(value: Any) -> None:
    with pytest.raises(NoCount):
        count(value)


def test_an_absent_count_is_zero() -> None:
    assert count(None) == 0
