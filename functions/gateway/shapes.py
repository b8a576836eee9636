"""The shapes of what clients send: only what the gateway reads is checked, everything else passes through.

Source: https://platform.openai.com/docs/api-reference/chat/create, …/embeddings/create
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Required, cast

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails, from_json
from typing_extensions import TypedDict

from functions.gateway.errors import BadRequest

_open = with_config(ConfigDict(extra="allow", strict=True))

Text = Annotated[str, Field(strict=True)]
Name = Annotated[str, MinLen(1)]
EndUser = Annotated[str, MaxLen(512)]  # it goes into every event
Count = Annotated[int, Ge(1), Le(2**31 - 1)]
Penalty = Annotated[float, Ge(-2), Le(2)]

MOST_RETRIES = 10
LONGEST_WAIT_S = 3600
_Retries = Annotated[int, Ge(0), Le(MOST_RETRIES)]
_Seconds = Annotated[float, Gt(0), Le(LONGEST_WAIT_S)]


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
    url: Required[Name]
    detail: str | None


def _shape(value: object) -> str | None:
    return "text" if isinstance(value, str) else "parts" if isinstance(value, list) else None


_BY_SHAPE = Discriminator(
    _shape,
    custom_error_type="shape",
    custom_error_message="must be a string or a list",
)


@_open
class _ImagePart(TypedDict):
    type: Literal["image_url"]
    image_url: Annotated[
        Annotated[Name, Tag("a string")] | Annotated[_ImageUrl, Tag("an object")],
        Discriminator(lambda value: "a string" if isinstance(value, str) else "an object"),
    ]


@_open
class _Audio(TypedDict):
    data: Name
    format: Name


@_open
class _AudioPart(TypedDict):
    type: Literal["input_audio"]
    input_audio: _Audio


@_open
class _File(TypedDict, total=False):
    file_id: str | None
    file_data: str | None
    filename: str | None


@_open
class _FilePart(TypedDict):
    type: Literal["file"]
    file: _File


@_open
class _ProvidersPart(TypedDict):
    """A part of Anthropic's own, or LiteLLM's of a video, in its shape; only its provider's wire can carry it."""

    type: Literal[
        "document", "search_result", "container_upload", "tool_reference", "tool_addition", "tool_removal", "video_url"
    ]  # fmt: skip


_UserParts = list[Annotated[_TextPart | _ImagePart | _AudioPart | _FilePart | _ProvidersPart, Discriminator("type")]]
_SystemParts = list[Annotated[_TextPart | _ProvidersPart, Discriminator("type")]]
_AssistantParts = list[Annotated[_TextPart | _RefusalPart, Discriminator("type")]]
_SystemContent = Annotated[Annotated[str, Tag("text")] | Annotated[_SystemParts, Tag("parts")], _BY_SHAPE]
_UserContent = Annotated[Annotated[str, Tag("text")] | Annotated[_UserParts, Tag("parts")], _BY_SHAPE]
_AssistantContent = Annotated[Annotated[str, Tag("text")] | Annotated[_AssistantParts, Tag("parts")], _BY_SHAPE]
_Strings = Annotated[Annotated[str, Tag("text")] | Annotated[list[str], Tag("parts")], _BY_SHAPE]


@_open
class _SystemMessage(TypedDict):
    role: Literal["system", "developer"]
    content: _SystemContent


@_open
class _UserMessage(TypedDict):
    role: Literal["user"]
    content: _UserContent


@_open
class _CalledFunction(TypedDict):
    name: Name
    arguments: str


@_open
class _FunctionCall(TypedDict, total=False):
    id: Required[Name]
    type: Literal["function"]
    function: Required[_CalledFunction]


@_open
class _CalledCustomTool(TypedDict):
    name: Name
    input: str


@_open
class _CustomToolCall(TypedDict):
    id: Name
    type: Literal["custom"]
    custom: _CalledCustomTool


def _kind_of_call(value: Any) -> str | None:
    """Tell a call by its `type`, in words that can't be taken for one of its fields."""
    given: Any = cast("dict[str, Any]", value).get("type", "function") if isinstance(value, dict) else "function"
    return {"function": "a function", "custom": "a custom"}.get(str(given))


def _kind_of_tool(value: Any) -> str:
    if not isinstance(value, dict):
        return "a function"
    tool = cast("dict[str, Any]", value)
    if tool and not tool.keys() & {"type", "function", "custom"}:
        return "Google's"
    is_anthropics = "input_schema" in tool  # whose own tools may be of type `custom` too
    kinds = {"function": "a function", "custom": "a provider's" if is_anthropics else "a custom"}
    return kinds.get(str(tool.get("type")), "a provider's")


_BY_KIND = Discriminator(
    _kind_of_call,
    custom_error_type="kind",
    custom_error_message="must be 'function' or 'custom'",
)
_Call = Annotated[Annotated[_FunctionCall, Tag("a function")] | Annotated[_CustomToolCall, Tag("a custom")], _BY_KIND]


@_open
class _AssistantMessage(TypedDict, total=False):
    role: Required[Literal["assistant"]]
    content: _AssistantContent | None
    tool_calls: list[_Call] | None
    function_call: _CalledFunction | None


@_open
class _ToolMessage(TypedDict):
    role: Literal["tool"]
    content: _UserContent
    tool_call_id: Name


@_open
class _FunctionMessage(TypedDict):
    role: Literal["function"]
    name: Name
    content: _AssistantContent | None


@_open
class _FunctionDefinition(TypedDict, total=False):
    name: Required[Name]
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


@_open
class _CustomToolDefinition(TypedDict, total=False):
    name: Required[Name]
    description: str | None
    format: dict[str, Any] | None


@_open
class _FunctionTool(TypedDict):
    type: Literal["function"]
    function: _FunctionDefinition


@_open
class _CustomTool(TypedDict):
    type: Literal["custom"]
    custom: _CustomToolDefinition


@_open
class _ProvidersTool(TypedDict):
    """A tool that one provider runs itself, in its own shape; its wire passes it through."""

    type: Name


@_open
class _GooglesTool(TypedDict):
    """A tool that Google runs itself, which has no type: `{"googleSearch": {}}`."""


@_open
class _Named(TypedDict):
    name: Name


@_open
class _ChosenFunction(TypedDict):
    type: Literal["function"]
    function: _Named


@_open
class _ChosenCustomTool(TypedDict):
    type: Literal["custom"]
    custom: _Named


@_open
class _AllowedTools(TypedDict):
    type: Literal["allowed_tools"]
    allowed_tools: dict[str, Any]


@_open
class _StreamOptions(TypedDict, total=False):
    include_usage: bool | None


@_open
class _JsonSchema(TypedDict, total=False):
    name: Required[Name]
    description: str | None
    schema: dict[str, Any] | None
    strict: bool | None


@_open
class _AnyFormat(TypedDict):
    type: Literal["text", "json_object"]


@_open
class _SchemaFormat(TypedDict):
    type: Literal["json_schema"]
    json_schema: _JsonSchema


_Message = Annotated[
    _SystemMessage | _UserMessage | _AssistantMessage | _ToolMessage | _FunctionMessage,
    Discriminator("role"),
]
_Tool = Annotated[
    Annotated[_FunctionTool, Tag("a function")]
    | Annotated[_CustomTool, Tag("a custom")]
    | Annotated[_ProvidersTool, Tag("a provider's")]
    | Annotated[_GooglesTool, Tag("Google's")],
    Discriminator(_kind_of_tool),
]
_Choice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("a string")]
    | Annotated[
        _ChosenFunction | _ChosenCustomTool | _AllowedTools,
        Discriminator("type"),
        Tag("an object"),
    ],
    Discriminator(lambda value: "a string" if isinstance(value, str) else "an object"),
]
_FunctionChoice = Annotated[
    Annotated[Literal["none", "auto"], Tag("a string")] | Annotated[_Named, Tag("an object")],
    Discriminator(lambda value: "a string" if isinstance(value, str) else "an object"),
]


@with_config(ConfigDict(extra="forbid", strict=True))
class _FallbackModel(TypedDict):
    model: Name


def _kind_of_fallback(value: object) -> str | None:
    return "an alias" if isinstance(value, str) else "an object" if isinstance(value, dict) else None


_BY_KIND_OF_FALLBACK = Discriminator(
    _kind_of_fallback,
    custom_error_type="fallback",
    custom_error_message="must be an alias or an object",
)
_Fallback = Annotated[
    Annotated[Name, Tag("an alias")] | Annotated[_FallbackModel, Tag("an object")], _BY_KIND_OF_FALLBACK
]
_FallbackOfAlias = Annotated[
    Annotated[Name, Tag("an alias")] | Annotated[dict[str, list[Name]], Tag("an object")], _BY_KIND_OF_FALLBACK
]


@_open
class _Wishes(TypedDict, total=False):
    """How a request wants to be routed."""

    fallbacks: list[_Fallback] | None
    disable_fallbacks: bool | None
    context_window_fallbacks: list[_FallbackOfAlias] | None
    content_policy_fallbacks: list[_FallbackOfAlias] | None
    num_retries: _Retries | None
    timeout: _Seconds | None
    stream_timeout: _Seconds | None
    request_timeout: _Seconds | None


@_open
class _ChatBody(_Wishes, total=False):
    model: Required[Name]
    messages: Required[Annotated[list[_Message], MinLen(1)]]
    stream: bool | None
    stream_options: _StreamOptions | None
    max_tokens: Count | None
    max_completion_tokens: Count | None
    temperature: Annotated[float, Ge(0), Le(2)] | None
    top_p: Annotated[float, Ge(0), Le(1)] | None
    top_k: int | None
    n: Annotated[int, Ge(1), Le(128)] | None
    stop: _Strings | None
    seed: int | None
    logprobs: bool | None
    top_logprobs: Annotated[int, Ge(0), Le(20)] | None
    logit_bias: dict[str, float] | None
    presence_penalty: Penalty | None
    frequency_penalty: Penalty | None
    tools: list[_Tool] | None
    tool_choice: _Choice | None
    parallel_tool_calls: bool | None
    functions: list[_FunctionDefinition] | None
    function_call: _FunctionChoice | None
    response_format: Annotated[_AnyFormat | _SchemaFormat, Discriminator("type")] | None
    reasoning_effort: str | None
    thinking: dict[str, Any] | None
    verbosity: str | None
    modalities: list[str] | None
    audio: dict[str, Any] | None
    prediction: dict[str, Any] | None
    web_search_options: dict[str, Any] | None
    service_tier: str | None
    user: EndUser | None
    safety_identifier: str | None
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    metadata: dict[str, Any] | None
    store: bool | None


_Tokens = Annotated[list[Annotated[int, Ge(0)]], MinLen(1)]


def _input_shape(value: object) -> str:
    if isinstance(value, str):
        return "a text"
    first: object = cast("list[object]", value)[0] if isinstance(value, list) and value else ""
    return "some tokens" if isinstance(first, int) else "lists of tokens" if isinstance(first, list) else "texts"


@_open
class _EmbeddingBody(_Wishes, total=False):
    model: Required[Name]
    input: Required[
        Annotated[
            Annotated[Name, Tag("a text")]
            | Annotated[list[Name], MinLen(1), MaxLen(2048), Tag("texts")]
            | Annotated[_Tokens, Tag("some tokens")]
            | Annotated[list[_Tokens], MinLen(1), Tag("lists of tokens")],
            Discriminator(_input_shape),
        ]
    ]
    dimensions: Count | None
    encoding_format: Literal["float", "base64"] | None
    user: EndUser | None


_CHAT_BODY: TypeAdapter[Any] = TypeAdapter(_ChatBody)
_EMBEDDING_BODY: TypeAdapter[Any] = TypeAdapter(_EmbeddingBody)


def read_chat_body(raw: bytes) -> dict[str, Any]:
    """Parse and check a Chat Completions body, in one pass. Raises `BadRequest`, naming the first field at fault."""
    return read_body(_CHAT_BODY, raw)


def read_embedding_body(raw: bytes) -> dict[str, Any]:
    """Parse and check an Embeddings body, in one pass. Raises `BadRequest`, naming the first field at fault."""
    return read_body(_EMBEDDING_BODY, raw)


def read_body(shape: TypeAdapter[Any], raw: bytes) -> dict[str, Any]:
    """Parse and check a body of any shape. Raises `BadRequest`, naming the first field at fault."""
    try:
        body: Any = from_json(raw, allow_inf_nan=False)
    except ValueError as error:  # also where it is nested too deeply for what follows
        raise BadRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    return checked(shape, body)


def read_query(shape: TypeAdapter[Any], given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Check a query, whose parameters are there but once. Raises `BadRequest`, naming the first one at fault."""
    query: dict[str, str] = {}
    for name, value in given:
        if name in query:
            raise BadRequest(f"{name} is there twice; send it once.", param=name)
        query[name] = value
    return checked(shape, query)


def checked(shape: TypeAdapter[Any], body: Any) -> dict[str, Any]:
    """Check what is parsed already. Raises `BadRequest`, naming the first field at fault."""
    try:
        return shape.validate_python(body)
    except ValidationError as error:
        raise _bad_request(error.errors(include_url=False, include_input=False)[0], body) from None


def _bad_request(fault: ErrorDetails, body: Any) -> BadRequest:
    context = fault.get("ctx", {})
    param = _path(fault["loc"], body, is_missing=fault["type"] == "missing")
    if fault["type"] == "kind":
        param += ".type"
    elif "discriminator" in context:
        param += f".{context['discriminator']}".replace("'", "")
    if not param:
        return BadRequest("The body must be a JSON object.", code="invalid_type")
    if fault["type"] in ("missing", "union_tag_not_found"):
        return BadRequest(f"{param} is missing.", param=param, code="missing_required_parameter")
    if fault["type"] == "extra_forbidden":
        return BadRequest(f"{param} is not supported here; leave it out.", param=param)
    if fault["type"] == "union_tag_invalid":
        return BadRequest(f"{param}: {context['tag']!r} is none of {context['expected_tags']}.", param=param)
    return BadRequest(f"{param}: {fault['msg']}.", param=param)


_BRANCHES = frozenset({
    "system", "developer", "user", "assistant", "tool", "function",
    "text", "refusal", "image_url", "input_audio", "file",
})  # fmt: skip


def _path(loc: Sequence[str | int], value: Any, *, is_missing: bool) -> str:
    """Turn a validation error's location into the field's path, leaving out the names of union branches.

    Those are told from fields by not being there (of a missing field's location, the last part isn't either), or, where
    a field may bear the same name, by their place right after a position.
    """
    path = ""
    for position, part in enumerate(loc):
        if part in _BRANCHES and isinstance(loc[position - 1], int):
            continue
        is_absent_field = is_missing and position == len(loc) - 1
        if isinstance(part, int):
            path += f"[{part}]"
            value = cast("list[Any]", value)[part]
        elif isinstance(value, dict) and (part in value or is_absent_field):
            path += f".{part}"
            value = cast("dict[str, Any]", value).get(part)
    return path.lstrip(".")
