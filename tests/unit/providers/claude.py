"""Requests and answers of Claude models, of which a test names only what it is about."""

from dataclasses import replace
from typing import Any

from functions.bootstrap import load_catalog
from functions.gateway.ports import ChatRequest, Deployment
from functions.providers.anthropic.decode import decode_answer
from functions.providers.anthropic.encode import dropped_params, encode_request
from functions.providers.anthropic.stream import AnthropicStream
from tests import builders

BUDGET = "claude-haiku-4-5"  # thinks with a budget, takes prefill and sampling
ADAPTIVE = "claude-sonnet-4-6"  # thinks adaptively, and with a budget still
NEWEST = "claude-opus-5-5"  # always thinks, takes no sampling, no forced choice, no prefill

USER = {"role": "user", "content": "Weather in Paris?"}
CALL = {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
RESULT = {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
THOUGHT = {"type": "thinking", "thinking": "Look it up.", "signature": "EqcC"}

_CATALOG = load_catalog()


def deployment(model: str = ADAPTIVE, **capabilities: Any) -> Deployment:
    """A deployment of a catalogued model, with other capabilities where a test says so."""
    known = _CATALOG.models["anthropic", model]
    known = replace(known, capabilities={**known.capabilities, **capabilities})
    return builders.deployment("anthropic", model, model=known)


def request(*messages: Any, drop_params: bool = True, stream: bool = False, **body: Any) -> ChatRequest:
    """A request of these messages, or of one question."""
    asked = {"model": "claude", "messages": [*messages] or [USER], **body}
    return ChatRequest(alias="claude", body=asked, is_stream=stream, wants_usage=False, drop_params=drop_params)


def sent(*messages: Any, to: str = ADAPTIVE, **body: Any) -> dict[str, Any]:
    """Give the body that is sent."""
    return encode_request(request(*messages, **body), deployment(to))


def dropped(*messages: Any, to: str = ADAPTIVE, **body: Any) -> tuple[str, ...]:
    """Name what is left out."""
    return dropped_params(request(*messages, **body), deployment(to))


def turns(*messages: Any, to: str = ADAPTIVE, **body: Any) -> list[dict[str, Any]]:
    """Give the turns that are sent."""
    return sent(*messages, to=to, **body)["messages"]


def message(*content: Any, stop_reason: str | None = "end_turn", usage: Any = None, **fields: Any) -> dict[str, Any]:
    """A whole answer of these blocks."""
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "model": "claude-sonnet-4-6",
        "content": [*content],
        "stop_reason": stop_reason,
        "usage": {"input_tokens": 10, "output_tokens": 5, **(usage or {})},
        **fields,
    }


def said(*content: Any, **fields: Any) -> dict[str, Any]:
    """Give OpenAI's message of an answer."""
    return decode_answer(message(*content, **fields)).choices[0]["message"]


def events(*content: list[Any], stop_reason: str = "end_turn", **delta: Any) -> list[dict[str, Any]]:
    """A stream's events: each block is its start and its deltas."""
    stream: list[dict[str, Any]] = [{"type": "message_start", "message": message(stop_reason=None)}]
    for index, (start, *deltas) in enumerate(content):
        stream.append({"type": "content_block_start", "index": index, "content_block": start})
        stream += [{"type": "content_block_delta", "index": index, "delta": piece} for piece in deltas]
        stream.append({"type": "content_block_stop", "index": index})
    stream.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None, **delta},
            "usage": {"output_tokens": 7},
        }
    )
    return [*stream, {"type": "message_stop"}]


def deltas(stream: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the deltas of a stream's chunks, without the empty ones."""
    decoder = AnthropicStream()
    chunks = [chunk for event in stream for chunk in decoder.decode(event)]
    return [choice["delta"] for chunk in chunks for choice in chunk.choices if choice["delta"]]
