"""What a client makes of the gateway's answers: the `openai` package's own models, strictly, and its accumulator."""

import json
from collections.abc import Iterator
from typing import Any

from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from functions.gateway.ports import Answer, Chunk
from functions.gateway.wire import ChunkRenderer, render_answer

# What the gateway adds to OpenAI's own fields: LiteLLM's well-known extensions.
EXTENSIONS = frozenset({
    "reasoning_content", "thinking_blocks", "annotations", "images", "provider_specific_fields",
    "cache_creation_tokens",
})  # fmt: skip
CREATED = 1_790_000_000


def completion(answer: Answer) -> dict[str, Any]:
    """Render a whole answer, and check it strictly."""
    rendered = render_answer(answer, model="claude", fallback_id="chatcmpl-1", created=CREATED)
    model = ChatCompletion.model_validate_json(rendered, strict=True)
    assert set(unknown_fields(model)) <= EXTENSIONS
    return json.loads(rendered)


def streamed_completion(chunks: list[Chunk]) -> dict[str, Any]:
    """Render a stream, check each chunk strictly, and put them together as the stock client does."""
    renderer = ChunkRenderer(model="claude", fallback_id="chatcmpl-1", created=CREATED, wants_usage=True)
    state = ChatCompletionStreamState()
    events = [renderer.render(chunk) for chunk in chunks]
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    for event in [*filter(None, events), renderer.render_usage(usages[-1])]:
        chunk = ChatCompletionChunk.model_validate_json(event.removeprefix(b"data: "), strict=True)
        assert set(unknown_fields(chunk)) <= EXTENSIONS
        state.handle_chunk(chunk)
    return without_nulls(state.current_completion_snapshot.to_dict(mode="json"))


def unknown_fields(model: BaseModel) -> Iterator[str]:
    """Name the fields that OpenAI's models don't know, at any depth."""
    yield from model.model_extra or ()
    for name in type(model).model_fields:
        for value in _models(getattr(model, name)):
            yield from unknown_fields(value)


def _models(value: Any) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
    elif isinstance(value, list):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _models(item)


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
