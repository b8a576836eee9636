"""Answers as a client reads them, whole and streamed, in a form to compare in."""

import json
from typing import Any

from functions.gateway.ports import Answer, Chunk
from functions.gateway.wire import ChunkRenderer, render_answer
from tests.recorded.stock_client import read_completion, read_stream

CREATED = 1_790_000_000


def completion(answer: Answer) -> dict[str, Any]:
    """Render a whole answer, and check it strictly."""
    rendered = render_answer(answer, model="claude", fallback_id="chatcmpl-1", created=CREATED)
    read_completion(rendered)
    return json.loads(rendered)


def streamed_completion(chunks: list[Chunk]) -> dict[str, Any]:
    """Render a stream, check each chunk strictly, and put them together as the stock client does."""
    renderer = ChunkRenderer(model="claude", fallback_id="chatcmpl-1", created=CREATED, wants_usage=True)
    events = [event for event in map(renderer.render, chunks) if event]
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    completed = read_stream([*events, renderer.render_usage(usages[-1])], also=frozenset({"annotations"}))
    return without_nulls(completed.to_dict(mode="json"))


def comparable(rendered: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only one of the two ways can have: calls' indexes, and the writing of their JSON."""
    choice = rendered["choices"][0]
    message = dict(choice["message"])
    message["tool_calls"] = [
        {
            "id": call["id"],
            "name": call["function"]["name"],
            "arguments": _parsed(call["function"]["arguments"]),
            "type": call["type"],
        }
        for call in message.get("tool_calls") or ()
    ]
    kept = {name: rendered.get(name) for name in ("id", "created", "model", "service_tier", "usage")}
    return without_nulls({**kept, "finish_reason": choice["finish_reason"], "message": message})


def _parsed(arguments: str) -> Any:
    """Parse arguments; those that were cut off are a text."""
    try:
        return json.loads(arguments)
    except json.JSONDecodeError:
        return arguments


def without_nulls(value: Any) -> Any:
    """Leave out the fields without a value, outside of what the provider's own blocks hold."""
    if isinstance(value, dict):
        return {
            name: item if name in ("provider_specific_fields", "thinking_blocks") else without_nulls(item)
            for name, item in value.items()  # pyright: ignore[reportUnknownVariableType]
            if item is not None
        }
    if isinstance(value, list):
        return [without_nulls(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
