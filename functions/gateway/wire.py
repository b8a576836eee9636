"""OpenAI's Chat Completions wire, as clients speak it to the gateway: requests checked, answers rendered."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal, Required, cast

import orjson
from annotated_types import Ge, Le, MinLen
from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails, from_json
from typing_extensions import TypedDict

from events.spend import Usage
from functions.gateway.errors import BadRequest, GatewayError
from functions.gateway.ports import PASSED_HEADERS, Answer, ChatRequest, Chunk

DONE = b"data: [DONE]\n\n"

# The gateway's own fields (LiteLLM's), which no provider is sent.
_OWN_FIELDS = frozenset({"fallbacks", "disable_fallbacks"})

# Only what the gateway reads is checked; everything else passes through (extra="allow").
_open = with_config(ConfigDict(extra="allow", strict=True))

Text = Annotated[str, Field(strict=True)]
Count = Annotated[int, Ge(1), Le(2**31 - 1)]


@_open
class _TextPart(TypedDict):
    type: Literal["text"]
    text: Text


@_open
class _RefusalPart(TypedDict):
    type: Literal["refusal"]
    refusal: Text


@_open
class _ImageUrl(TypedDict, total=False):
    url: Required[Annotated[str, MinLen(1)]]
    detail: str | None


@_open
class _ImagePart(TypedDict):
    type: Literal["image_url"]
    image_url: _ImageUrl


@_open
class _AudioPart(TypedDict):
    type: Literal["input_audio"]
    input_audio: dict[str, Any]


@_open
class _FilePart(TypedDict):
    type: Literal["file"]
    file: dict[str, Any]


def _shape(value: object) -> str | None:
    return "text" if isinstance(value, str) else "parts" if isinstance(value, list) else None


_BY_SHAPE = Discriminator(
    _shape,
    custom_error_type="shape",
    custom_error_message="must be a string or a list",
)
_UserParts = list[Annotated[_TextPart | _ImagePart | _AudioPart | _FilePart, Discriminator("type")]]
_AssistantParts = list[Annotated[_TextPart | _RefusalPart, Discriminator("type")]]
_TextContent = Annotated[Annotated[str, Tag("text")] | Annotated[list[_TextPart], Tag("parts")], _BY_SHAPE]
_UserContent = Annotated[Annotated[str, Tag("text")] | Annotated[_UserParts, Tag("parts")], _BY_SHAPE]
_AssistantContent = Annotated[Annotated[str, Tag("text")] | Annotated[_AssistantParts, Tag("parts")], _BY_SHAPE]
_Strings = Annotated[Annotated[str, Tag("text")] | Annotated[list[str], Tag("parts")], _BY_SHAPE]


@_open
class _SystemMessage(TypedDict):
    role: Literal["system", "developer"]
    content: _TextContent


@_open
class _UserMessage(TypedDict):
    role: Literal["user"]
    content: _UserContent


@_open
class _CalledFunction(TypedDict):
    name: Annotated[str, MinLen(1)]
    arguments: str


@_open
class _ToolCall(TypedDict, total=False):
    id: Required[Annotated[str, MinLen(1)]]
    type: Literal["function"]
    function: Required[_CalledFunction]


@_open
class _AssistantMessage(TypedDict, total=False):
    role: Required[Literal["assistant"]]
    content: _AssistantContent | None
    tool_calls: list[_ToolCall] | None


@_open
class _ToolMessage(TypedDict):
    role: Literal["tool"]
    content: _UserContent
    tool_call_id: Annotated[str, MinLen(1)]


@_open
class _FunctionDefinition(TypedDict, total=False):
    name: Required[Annotated[str, MinLen(1)]]
    description: str | None
    parameters: dict[str, Any] | None


@_open
class _Tool(TypedDict):
    type: Literal["function"]
    function: _FunctionDefinition


@_open
class _NamedFunction(TypedDict):
    name: Annotated[str, MinLen(1)]


@_open
class _NamedTool(TypedDict):
    type: Literal["function"]
    function: _NamedFunction


@_open
class _StreamOptions(TypedDict, total=False):
    include_usage: bool | None


_Message = Annotated[
    _SystemMessage | _UserMessage | _AssistantMessage | _ToolMessage,
    Discriminator("role"),
]
_ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("text")] | Annotated[_NamedTool, Tag("named")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "named"),
]


@_open
class _ChatBody(TypedDict, total=False):
    model: Required[Annotated[str, MinLen(1)]]
    messages: Required[Annotated[list[_Message], MinLen(1)]]
    stream: bool | None
    stream_options: _StreamOptions | None
    max_tokens: Count | None
    max_completion_tokens: Count | None
    temperature: Annotated[float, Ge(0), Le(2)] | None
    top_p: Annotated[float, Ge(0), Le(1)] | None
    n: Annotated[int, Ge(1), Le(128)] | None
    stop: _Strings | None
    tools: list[_Tool] | None
    tool_choice: _ToolChoice | None
    parallel_tool_calls: bool | None
    user: str | None
    fallbacks: list[str] | None
    disable_fallbacks: bool | None


_CHAT_BODY = TypeAdapter(_ChatBody)


def parse_chat_request(
    raw: bytes, *, drop_params: bool, headers: Mapping[str, str] = MappingProxyType({})
) -> ChatRequest:
    """Check a body. Raises `BadRequest`, naming the first field at fault by its path."""
    try:
        body = cast("dict[str, Any]", _CHAT_BODY.validate_json(raw))
    except ValidationError as error:
        raise _bad_request(error.errors(include_url=False, include_input=False)[0], raw) from None
    stream_options: dict[str, Any] = body.get("stream_options") or {}
    own_fallbacks = () if body.get("disable_fallbacks") else body.get("fallbacks")
    return ChatRequest(
        alias=body["model"],
        body={name: value for name, value in body.items() if name not in _OWN_FIELDS},
        is_stream=bool(body.get("stream")),
        wants_usage=bool(stream_options.get("include_usage")),
        drop_params=drop_params,
        fallbacks=None if own_fallbacks is None else tuple(own_fallbacks),
        headers={name: headers[name] for name in PASSED_HEADERS if name in headers},
    )


def _bad_request(fault: ErrorDetails, raw: bytes) -> BadRequest:
    context = fault.get("ctx", {})
    if fault["type"] == "json_invalid":
        return BadRequest(f"The body is not valid JSON: {context['error']}.", code="invalid_json")
    param = _path(fault["loc"], from_json(raw))
    if "discriminator" in context:
        param += f".{context['discriminator']}".replace("'", "")
    if not param:
        return BadRequest("The body must be a JSON object.", code="invalid_type")
    if fault["type"] in ("missing", "union_tag_not_found"):
        return BadRequest(f"{param} is missing.", param=param, code="missing_required_parameter")
    if fault["type"] == "union_tag_invalid":
        return BadRequest(f"{param}: {context['tag']!r} is none of {context['expected_tags']}.", param=param)
    return BadRequest(f"{param}: {fault['msg']}.", param=param)


def _path(loc: Sequence[str | int], value: Any) -> str:
    """Turn a validation error's location into the field's path, leaving out the names of union branches."""
    path = ""
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        if isinstance(part, int):
            path += f"[{part}]"
            value = cast("list[Any]", value)[part]
        elif isinstance(value, dict) and (part in value or is_last):
            path += f".{part}"
            value = cast("dict[str, Any]", value).get(part)
    return path.lstrip(".")


def render_answer(answer: Answer, *, model: str, fallback_id: str, created: int) -> bytes:
    """Render a whole answer as a `chat.completion`. `created` is in Unix seconds."""
    completion = {
        "id": answer.response_id or fallback_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": answer.choices,
        "usage": render_usage(answer.usage),
    }
    return orjson.dumps(completion | answer.extra)


class ChunkRenderer:
    """Renders the chunks of one stream as server-sent events, with one `id`, `model` and `created` throughout."""

    def __init__(self, *, model: str, fallback_id: str, created: int, wants_usage: bool) -> None:
        self._id = fallback_id
        self._has_id = False
        self._rest = {"object": "chat.completion.chunk", "created": created, "model": model}
        self._tail = {"usage": None} if wants_usage else {}

    def render(self, chunk: Chunk) -> bytes:
        """Render one chunk; nothing for a chunk without choices, whose usage comes at the end."""
        if chunk.response_id and not self._has_id:
            self._id, self._has_id = chunk.response_id, True
        if not chunk.choices:
            return b""
        return _event({"id": self._id, **self._rest, "choices": chunk.choices, **chunk.extra, **self._tail})

    def render_usage(self, usage: Usage) -> bytes:
        """Render the closing chunk of `stream_options.include_usage`."""
        return _event({"id": self._id, **self._rest, "choices": [], "usage": render_usage(usage)})


def render_usage(usage: Usage) -> dict[str, Any]:
    """Give OpenAI's `usage`; `prompt_tokens` includes cached ones, `completion_tokens` reasoning."""
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_creation_tokens": written,
            "audio_tokens": usage.audio_input_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def render_error(error: GatewayError) -> bytes:
    """Give OpenAI's error envelope; `code` is a word, the status is HTTP's."""
    return orjson.dumps({"error": _error(error)})


def render_stream_error(error: GatewayError) -> bytes:
    """Give the event that ends a broken stream. No `[DONE]` follows it."""
    return _event({"error": _error(error)})


def _error(error: GatewayError) -> Mapping[str, Any]:
    return {"message": error.message, "type": error.type, "param": error.param, "code": error.code, **error.details}


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(data)
