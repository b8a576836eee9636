"""What the stock `openai` package makes of the gateway's bytes: its models, strictly, and its accumulator."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

# What the gateway adds to OpenAI's own fields: LiteLLM's well-known extensions.
EXTENSIONS = frozenset({
    "reasoning_content", "thinking_blocks", "images", "provider_specific_fields", "cache_creation_tokens",
})  # fmt: skip
M = TypeVar("M", bound=BaseModel)


def read_completion(raw: bytes, *, also: frozenset[str] = frozenset()) -> ChatCompletion:
    """Read a whole answer. Fields that OpenAI's models don't know must be extensions, or be named in `also`."""
    return _strict(ChatCompletion, raw, EXTENSIONS | also)


def read_stream(events: Iterable[bytes], *, also: frozenset[str] = frozenset()) -> ChatCompletion:
    """Read every chunk and put them together as the stock client does."""
    state = ChatCompletionStreamState()
    for event in events:
        state.handle_chunk(_strict(ChatCompletionChunk, event.removeprefix(b"data: "), EXTENSIONS | also))
    return state.current_completion_snapshot  # pyright: ignore[reportReturnType] (a subclass of it, parsed)


def _strict(model: type[M], raw: bytes, known: frozenset[str]) -> M:
    value = model.model_validate_json(raw, strict=True)
    unknown = set(_unknown_fields(value)) - known
    assert not unknown, f"{model.__name__} doesn't know {unknown}"
    return value


def _unknown_fields(model: BaseModel) -> Iterator[str]:
    yield from model.model_extra or ()
    for name in type(model).model_fields:
        for value in _models(getattr(model, name)):
            yield from _unknown_fields(value)


def _models(value: Any) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
    elif isinstance(value, list):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _models(item)
