"""OpenAI's wire at the gateway's own edge."""

import json
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.spend import Usage
from functions.gateway.errors import BadRequest
from functions.gateway.ports import AS_CONFIGURED, ChatRequest, Chunk, Embeddings, Wishes
from functions.gateway.wire import (
    ChunkRenderer,
    parse_chat_request,
    parse_embedding_request,
    render_answer,
    render_embeddings,
    render_usage,
)
from tests.builders import answer

USER = {"role": "user", "content": "hi"}


def parse(body: Any) -> ChatRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_chat_request(raw, drop_params=True)


def asking(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": list(messages) or [USER], **fields}


def part(**fields: Any) -> dict[str, Any]:
    return asking({"role": "user", "content": [fields]})


def wishes(headers: Mapping[str, str] = MappingProxyType({}), **fields: Any) -> Wishes:
    return parse_chat_request(json.dumps(asking(**fields)).encode(), drop_params=True, headers=headers).wishes


TOOL = {"type": "function", "function": {"name": "f"}}
CUSTOM_TOOL = {"type": "custom", "custom": {"name": "c"}}
CUSTOM_CALL = {"id": "call_2", "type": "custom", "custom": {"name": "c", "input": "4 + 4"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def called(arguments: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}


def calling(arguments: str) -> dict[str, Any]:
    return asking(USER, {"role": "assistant", "tool_calls": [CALL | {"id": "call_0"}, called(arguments)]})


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "8"}


def tool(name: str = "f", **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


def image(url: str) -> dict[str, Any]:
    return part(type="image_url", image_url={"url": url})


ARGUMENTS = "messages[1].tool_calls[1].function.arguments"
IMAGE = "messages[0].content[0].image_url.url"
FILE = "messages[0].content[0].file"


@pytest.mark.parametrize(
    "body",
    [
        asking(),
        asking({"role": "system", "content": "s"}, {"role": "developer", "content": [{"type": "text", "text": "d"}]}),
        asking(USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}),
        asking({"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "call_1", "content": "4"}),
        asking({"role": "assistant", "content": "x", "audio": None, "annotations": [], "refusal": None}),
        part(type="image_url", image_url={"url": "https://example.com/a.png", "detail": "low"}),
        asking(stop="x", temperature=1, top_p=0.5, n=None, tool_choice="required", max_tokens=1),
        asking(stop=["x", "y"], tool_choice={"type": "function", "function": {"name": "f"}}, tools=[TOOL]),
        asking(tools=[{"type": "function", "function": {"name": "f", "strict": True, "parameters": {}}}]),
        asking(stream_options={"include_usage": True}, stream=True),
        part(type="input_audio", input_audio={"data": "AAA=", "format": "wav"}),
        part(type="file", file={"file_id": "file-1"}),
        part(type="file", file={"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAA="}),
        part(type="image_url", image_url={"url": "data:image/png;base64,AAA="}),
        part(type="image_url", image_url={"url": "gs://bucket/a.png"}),
        asking({"role": "assistant", "tool_calls": [CUSTOM_CALL]}, result("call_2")),
        asking({"role": "assistant", "tool_calls": [called("")]}, result("call_1")),
        asking(
            tools=[{"type": "custom", "custom": {"name": "c"}}], tool_choice={"type": "custom", "custom": {"name": "c"}}
        ),
        asking(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
        asking(tools=[{"googleSearch": {}}, TOOL]),
        part(type="video_url", video_url={"url": "https://example.com/a.mp4"}),
        asking(tools=[{"type": "custom", "name": "f", "input_schema": {}}]),
        asking(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}),
        asking(response_format={"type": "json_object"}),
        asking(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": True}}),
        asking(reasoning_effort="xhigh", seed=1, logprobs=True, top_logprobs=3, logit_bias={"50256": -100}),
    ],
)
def test_what_openai_takes_passes(body: dict[str, Any]) -> None:
    assert parse(body).body == body


def test_an_unknown_parameter_passes_through() -> None:
    assert parse(asking(invented={"later": [1]})).body["invented"] == {"later": [1]}


OWN_FIELDS = {
    "fallbacks": ["gemini-pro"],
    "disable_fallbacks": False,
    "context_window_fallbacks": ["gemini-pro"],
    "content_policy_fallbacks": ["gemini-pro"],
    "num_retries": 1,
    "timeout": 20,
    "stream_timeout": 2.5,
    "request_timeout": 60,
}


def test_the_gateways_own_fields_stay_here() -> None:
    assert parse(asking(**OWN_FIELDS)).body == asking()


def test_a_request_says_how_it_wants_to_be_routed() -> None:
    assert wishes(**OWN_FIELDS) == Wishes(
        fallbacks=("gemini-pro",),
        context_window_fallbacks=("gemini-pro",),
        content_policy_fallbacks=("gemini-pro",),
        num_retries=1,
        timeout_s=20,
        stream_timeout_s=2.5,
        request_timeout_s=60,
    )


def test_an_embedding_request_says_so_too() -> None:
    raw = json.dumps({"model": "m", "input": "x", **OWN_FIELDS}).encode()

    request = parse_embedding_request(raw, drop_params=True, headers={"x-litellm-timeout": "7"})

    assert (request.wishes, request.body) == (wishes(**OWN_FIELDS), {"model": "m", "input": "x"})


@pytest.mark.parametrize("fields", [{}, dict.fromkeys(OWN_FIELDS), {"disable_fallbacks": False}])
def test_a_request_without_wishes_is_routed_as_configured(fields: dict[str, Any]) -> None:
    assert wishes(**fields) == AS_CONFIGURED


def test_all_fallbacks_can_be_switched_off() -> None:
    fields = {"disable_fallbacks": True, "fallbacks": ["gemini-pro"]}

    assert wishes(**fields) == Wishes(fallbacks=(), context_window_fallbacks=(), content_policy_fallbacks=())


def test_an_empty_chain_is_none_at_all() -> None:
    empty = wishes(fallbacks=[], context_window_fallbacks=[])

    assert (empty.fallbacks, empty.context_window_fallbacks) == ((), ())


def test_a_fallback_may_be_an_object_with_its_model() -> None:
    assert wishes(fallbacks=[{"model": "gemini-pro"}, "claude-sonnet"]).fallbacks == ("gemini-pro", "claude-sonnet")


@pytest.mark.parametrize("name", ["context_window_fallbacks", "content_policy_fallbacks"])
def test_of_chains_by_alias_the_requests_own_is_taken(name: str) -> None:
    chains = [{"claude-sonnet": ["x"]}, {"gpt-4o": ["gemini-pro", "y"], "z": ["x"]}]

    assert getattr(wishes({}, **{name: chains}), name) == ("gemini-pro", "y")
    assert getattr(wishes({}, **{name: [{"gpt-4o": []}]}), name) == ()


def test_chains_for_other_aliases_say_nothing() -> None:
    assert wishes(context_window_fallbacks=[{"claude-sonnet": ["x"]}]).context_window_fallbacks is None


WISH_HEADERS = {"x-litellm-num-retries": "0", "x-litellm-timeout": "20", "x-litellm-stream-timeout": "2.5"}


def test_wishes_may_come_in_headers() -> None:
    assert wishes(WISH_HEADERS) == Wishes(num_retries=0, timeout_s=20, stream_timeout_s=2.5)


def test_the_body_wins_over_the_headers() -> None:
    fields = {"num_retries": 3, "timeout": 30, "stream_timeout": 3}

    assert wishes(WISH_HEADERS, **fields) == Wishes(num_retries=3, timeout_s=30, stream_timeout_s=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("x-litellm-num-retries", value) for value in ("", "11", "-1", "1.5", "two", "\u0663")),
        *(("x-litellm-timeout", value) for value in ("", "0", "0.0", "-1", "3601", "nan", "inf", "1_0", "1e3", " 5")),
        ("x-litellm-stream-timeout", "3600.1"),
    ],
)
def test_a_bad_header_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match=f"{name}: .* is not accepted; send a ") as refused:
        wishes({name: value})

    assert refused.value.param == name


@given(st.decimals(min_value="0.001", max_value=3600, places=3))
def test_any_number_of_seconds_is_taken_as_it_is_written(seconds: Decimal) -> None:
    assert wishes({"x-litellm-timeout": str(seconds)}).timeout_s == float(seconds)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"", None, "invalid_json"),
        (b"{", None, "invalid_json"),
        (b'{"model": "\xff"}', None, "invalid_json"),
        (b"[" * 10_000, None, "invalid_json"),
        ([], None, "invalid_type"),
        ("text", None, "invalid_type"),
        (None, None, "invalid_type"),
        ({"messages": [USER]}, "model", "missing_required_parameter"),
        ({"model": "m"}, "messages", "missing_required_parameter"),
        (asking(model=5), "model", "invalid_value"),
        (asking(messages=[]), "messages", "invalid_value"),
        (asking(messages="hi"), "messages", "invalid_value"),
        (asking(5), "messages[0]", "invalid_value"),
        (asking(USER, {"role": "robot", "content": "x"}), "messages[1].role", "invalid_value"),
        (asking({"content": "x"}), "messages[0].role", "missing_required_parameter"),
        (asking({"role": "user"}), "messages[0].content", "missing_required_parameter"),
        (asking({"role": "user", "content": 5}), "messages[0].content", "invalid_value"),
        (part(type="video"), "messages[0].content[0].type", "invalid_value"),
        (part(type="text"), "messages[0].content[0].text", "missing_required_parameter"),
        (part(type="image_url", image_url={}), "messages[0].content[0].image_url.url", "missing_required_parameter"),
        (asking({"role": "tool", "content": "x"}), "messages[0].tool_call_id", "missing_required_parameter"),
        (asking(user="u" * 513), "user", "invalid_value"),
        (asking({"role": "user", "user": "bob", "content": 5}), "messages[0].content", "invalid_value"),
        (
            asking({"role": "user", "user": {"content": 5}, "content": [{"type": "nope"}]}),
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (asking(functions=[{"name": 5}]), "functions[0].name", "invalid_value"),
        (asking(functions=[{"name": "f"}], tools=[TOOL]), "functions", "invalid_value"),
        (
            part(type="document", source={"url": "http://10.0.0.1/"}),
            "messages[0].content[0].source.url",
            "invalid_value",
        ),
        (asking(temperature="hot"), "temperature", "invalid_value"),
        (asking(temperature=2.1), "temperature", "invalid_value"),
        (asking(top_p=-1), "top_p", "invalid_value"),
        (asking(max_tokens=0), "max_tokens", "invalid_value"),
        (asking(max_tokens=10**30), "max_tokens", "invalid_value"),
        (asking(max_completion_tokens=1.5), "max_completion_tokens", "invalid_value"),
        (asking(stop=5), "stop", "invalid_value"),
        (asking(stop=["a", 5]), "stop[1]", "invalid_value"),
        (asking(stream="yes"), "stream", "invalid_value"),
        (asking(tools=[{"type": "function"}]), "tools[0].function", "missing_required_parameter"),
        (asking(tool_choice="maybe"), "tool_choice", "invalid_value"),
        (asking(stream_options=[]), "stream_options", "invalid_value"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "seed": NaN}', None, "invalid_json"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "extra": [NaN]}', None, "invalid_json"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "extra": -Infinity}', None, "invalid_json"),
        (b'{"model": "m", "extra": ' + b"[" * 500 + b"]" * 500 + b"}", None, "invalid_json"),
        (calling("{"), ARGUMENTS, "invalid_value"),
        (calling("[]"), ARGUMENTS, "invalid_value"),
        (calling('"x"'), ARGUMENTS, "invalid_value"),
        (calling("NaN"), ARGUMENTS, "invalid_value"),
        (
            asking(USER, {"role": "assistant", "tool_calls": [{"id": "c", "type": "function"}]}),
            "messages[1].tool_calls[0].function",
            "missing_required_parameter",
        ),
        (
            asking(USER, {"role": "assistant", "tool_calls": [{"id": "c", "type": "robot"}]}),
            "messages[1].tool_calls[0].type",
            "invalid_value",
        ),
        (
            asking(
                USER, {"role": "assistant", "tool_calls": [{"type": "custom", "custom": {"name": "c", "input": ""}}]}
            ),
            "messages[1].tool_calls[0].id",
            "missing_required_parameter",
        ),
        (
            asking(USER, {"role": "assistant", "function_call": {"name": "f", "arguments": "{"}}),
            "messages[1].function_call.arguments",
            "invalid_value",
        ),
        (asking(USER, result("call_9")), "messages[1].tool_call_id", "invalid_value"),
        (
            asking(result("call_1"), {"role": "assistant", "tool_calls": [CALL]}),
            "messages[0].tool_call_id",
            "invalid_value",
        ),
        (image("http://127.0.0.1/a.png"), IMAGE, "invalid_value"),
        (image("https://169.254.169.254/latest/meta-data"), IMAGE, "invalid_value"),
        (image("HTTP://LOCALHOST/a.png"), IMAGE, "invalid_value"),
        (image("ftp://example.com/a.png"), IMAGE, "invalid_value"),
        (image("file:///etc/passwd"), IMAGE, "invalid_value"),
        (image("a.png"), IMAGE, "invalid_value"),
        (part(type="image_url", image_url="http://10.0.0.1/a.png"), IMAGE, "invalid_value"),
        (part(type="image_url", image_url=5), "messages[0].content[0].image_url", "invalid_value"),
        (
            part(type="input_audio", input_audio={"format": "wav"}),
            "messages[0].content[0].input_audio.data",
            "missing_required_parameter",
        ),
        (part(type="input_audio", input_audio="x"), "messages[0].content[0].input_audio", "invalid_value"),
        (part(type="file", file={"filename": "a.pdf"}), FILE, "invalid_value"),
        (part(type="file", file={"file_id": "http://[::1]/a.pdf"}), f"{FILE}.file_id", "invalid_value"),
        (
            part(type="file", file={"file_data": "https://metadata.google.internal/"}),
            f"{FILE}.file_data",
            "invalid_value",
        ),
        (asking(tools=[tool(), tool()]), "tools[1].function.name", "invalid_value"),
        (asking(tools=[tool(parameters=[])]), "tools[0].function.parameters", "invalid_value"),
        (asking(tools=[tool(parameters={"type": "string"})]), "tools[0].function.parameters.type", "invalid_value"),
        (asking(tools=[{"function": {"name": "f"}}]), "tools[0].type", "missing_required_parameter"),
        (asking(tools=[{"type": "custom", "custom": {}}]), "tools[0].custom.name", "missing_required_parameter"),
        (
            part(type="video_url", video_url={"url": "http://127.0.0.1/a.mp4"}),
            "messages[0].content[0].video_url.url",
            "invalid_value",
        ),
        (asking(tools=[5]), "tools[0]", "invalid_value"),
        (
            asking(tools=[tool()], tool_choice={"type": "function", "function": {"name": "g"}}),
            "tool_choice.function.name",
            "invalid_value",
        ),
        (asking(tool_choice={"type": "robot"}), "tool_choice.type", "invalid_value"),
        (asking(functions=[{"name": "f"}, {"name": "f"}]), "functions[1].name", "invalid_value"),
        (asking({"role": "function", "name": "f", "content": "4"}), "messages[0].name", "invalid_value"),
        (asking(response_format={"type": "xml"}), "response_format.type", "invalid_value"),
        (asking(response_format={"type": "json_schema"}), "response_format.json_schema", "missing_required_parameter"),
        (
            asking(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": "x"}}),
            "response_format.json_schema.schema",
            "invalid_value",
        ),
        (asking(presence_penalty=3), "presence_penalty", "invalid_value"),
        (asking(top_logprobs=21), "top_logprobs", "invalid_value"),
        (asking(logit_bias=[1]), "logit_bias", "invalid_value"),
        (asking(metadata="x"), "metadata", "invalid_value"),
        (asking(fallbacks="gemini-pro"), "fallbacks", "invalid_value"),
        (asking(fallbacks=["a", 5]), "fallbacks[1]", "invalid_value"),
        (asking(fallbacks=[""]), "fallbacks[0]", "invalid_value"),
        (asking(fallbacks=[{}]), "fallbacks[0].model", "missing_required_parameter"),
        (asking(fallbacks=[{"model": "a", "messages": []}]), "fallbacks[0].messages", "invalid_value"),
        (asking(disable_fallbacks="yes"), "disable_fallbacks", "invalid_value"),
        (asking(context_window_fallbacks=[5]), "context_window_fallbacks[0]", "invalid_value"),
        (asking(context_window_fallbacks=[{"a": "b"}]), "context_window_fallbacks[0].a", "invalid_value"),
        (asking(content_policy_fallbacks=[{"user": [5]}]), "content_policy_fallbacks[0].user[0]", "invalid_value"),
        (asking(num_retries=11), "num_retries", "invalid_value"),
        (asking(num_retries=-1), "num_retries", "invalid_value"),
        (asking(num_retries=True), "num_retries", "invalid_value"),
        (asking(num_retries="1"), "num_retries", "invalid_value"),
        (asking(timeout=0), "timeout", "invalid_value"),
        (asking(timeout="20"), "timeout", "invalid_value"),
        (asking(timeout=True), "timeout", "invalid_value"),
        (asking(stream_timeout=3601), "stream_timeout", "invalid_value"),
        (asking(request_timeout=-1), "request_timeout", "invalid_value"),
    ],
)
def test_bad_input_is_refused_by_the_name_of_its_field(body: Any, param: str | None, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(body)

    assert (refused.value.param, refused.value.code) == (param, code)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_FIELDS = st.sampled_from(["role", "content", "tool_calls", "type", "text", "image_url", "function", "id"])


def refusal_of(body: Any) -> BadRequest | None:
    try:
        parse(body)
    except BadRequest as refused:
        return refused
    return None


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("model", "messages", "stop", "tools", "n"), _JSON)))
def test_any_json_object_is_taken_or_refused_by_a_field(body: dict[str, Any]) -> None:
    refused = refusal_of(body)

    assert refused is None or refused.param in body or refused.param in ("model", "messages") or "[" in refused.message


@given(st.lists(st.dictionaries(_FIELDS, _JSON | st.lists(st.dictionaries(_FIELDS, _JSON)))))
def test_any_messages_are_taken_or_refused_by_their_path(messages: list[Any]) -> None:
    refused = refusal_of({"model": "m", "messages": messages})

    assert refused is None or (refused.param or "").startswith("messages")


def test_the_short_form_of_an_image_is_written_out() -> None:
    content = parse(part(type="image_url", image_url="https://example.com/a.png")).body["messages"][0]["content"]

    assert content == [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]


# --- embeddings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["text", ["a", "b"], [1, 2], [[1, 2], [3]]])
def test_every_kind_of_input_is_taken(value: Any) -> None:
    raw = json.dumps({"model": "m", "input": value, "dimensions": 8, "encoding_format": "base64"}).encode()

    assert parse_embedding_request(raw, drop_params=True).body["input"] == value


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "m"}, "input"),
        ({"input": "x"}, "model"),
        ({"model": "m", "input": ""}, "input"),
        ({"model": "m", "input": []}, "input"),
        ({"model": "m", "input": ["a", ""]}, "input[1]"),
        ({"model": "m", "input": ["a", 5]}, "input[1]"),
        ({"model": "m", "input": [1, "a"]}, "input[1]"),
        ({"model": "m", "input": [[1], []]}, "input[1]"),
        ({"model": "m", "input": {"text": "a"}}, "input"),
        ({"model": "m", "input": None}, "input"),
        ({"model": "m", "input": ["a"] * 2049}, "input"),
        ({"model": "m", "input": "x", "dimensions": 0}, "dimensions"),
        ({"model": "m", "input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"model": "m", "input": "x", "user": 5}, "user"),
        ({"model": "m", "input": "x", "timeout": 0}, "timeout"),
        ({"model": "m", "input": "x", "fallbacks": [5]}, "fallbacks[0]"),
    ],
)
def test_a_bad_embedding_request_is_refused_by_the_name_of_its_field(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_embedding_request(json.dumps(body).encode(), drop_params=True)

    assert refused.value.param == param


def embedded(vector: list[float] | str, encoding_format: str | None) -> Any:
    embeddings = Embeddings(vectors=[vector], usage=None)
    raw = render_embeddings(embeddings, Usage(input_tokens=3), model="m", encoding_format=encoding_format)
    return json.loads(raw)["data"][0]["embedding"]


def test_vectors_come_in_the_encoding_that_was_asked_for() -> None:
    assert embedded([0.5, -2.0], None) == embedded([0.5, -2.0], "float") == [0.5, -2.0]
    assert embedded([0.5, -2.0], "base64") == "AAAAPwAAAMA="
    assert embedded("AAAAPwAAAMA=", "float") == [0.5, -2.0]
    assert embedded("AAAAPwAAAMA=", "base64") == "AAAAPwAAAMA="


# --- the older form of tools -----------------------------------------------------------------------

FUNCTION = {"name": "f", "parameters": {"type": "object"}}
FUNCTION_CALL = {"name": "f", "arguments": "{}"}


def test_functions_become_tools_for_those_who_know_no_others() -> None:
    body = asking(functions=[FUNCTION], function_call={"name": "f"})
    request = parse(body)

    assert request.body["tools"] == [{"type": "function", "function": FUNCTION}]
    assert request.body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert not {"functions", "function_call"} & request.body.keys()
    assert request.legacy_body == body


def test_a_call_of_a_function_and_its_result_become_those_of_a_tool() -> None:
    call = {"role": "assistant", "content": None, "function_call": FUNCTION_CALL}
    request = parse(asking(USER, call, {"role": "function", "name": "f", "content": "4"}))

    _, said, answer = request.body["messages"]
    assert said["tool_calls"] == [{"id": "call_1", "type": "function", "function": FUNCTION_CALL}]
    assert answer == {"role": "tool", "tool_call_id": "call_1", "content": "4"}
    assert "function_call" not in said


def test_a_tool_call_goes_back_as_a_function_call_where_functions_were_asked_for() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    said = answer(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])

    raw = render_answer(said, model="m", fallback_id="c", created=1, is_legacy=True)
    (choice,) = json.loads(raw)["choices"]
    assert choice["message"] == {"role": "assistant", "content": None, "function_call": FUNCTION_CALL}
    assert choice["finish_reason"] == "function_call"


def test_a_streamed_tool_call_goes_back_as_a_function_call() -> None:
    renderer = ChunkRenderer(model="m", fallback_id="c", created=1, wants_usage=False, is_legacy=True)
    pieces = [{"index": 0, "id": "c", "type": "function", "function": FUNCTION_CALL}, {"index": 1, "function": {}}]
    chunk = Chunk(choices=[{"index": 0, "delta": {"tool_calls": pieces}, "finish_reason": "tool_calls"}])

    (choice,) = json.loads(renderer.render(chunk).removeprefix(b"data: "))["choices"]
    assert choice == {"index": 0, "delta": {"function_call": FUNCTION_CALL}, "finish_reason": "function_call"}


def test_there_is_room_for_the_first_of_parallel_calls_only() -> None:
    renderer = ChunkRenderer(model="m", fallback_id="c", created=1, wants_usage=False, is_legacy=True)
    second = {"index": 1, "function": {"arguments": "{}"}}
    event = renderer.render(Chunk(choices=[{"index": 0, "delta": {"tool_calls": [second]}, "finish_reason": None}]))

    assert json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"] == {}


def test_a_request_without_functions_is_sent_as_it_is() -> None:
    assert parse(asking(tools=[TOOL])).legacy_body is None


# --- answers ---------------------------------------------------------------------------------------


def test_usage_names_every_kind() -> None:
    usage = Usage(
        input_tokens=10, output_tokens=7, cache_read_tokens=4, cache_write_5m_tokens=1, cache_write_1h_tokens=2,
        reasoning_tokens=3, audio_input_tokens=5, audio_output_tokens=6,
    )  # fmt: skip

    assert render_usage(usage, {"completion_tokens_details": {"accepted_prediction_tokens": 1}, "cost": 0.1}) == {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "total_tokens": 17,
        "prompt_tokens_details": {
            "cached_tokens": 4,
            "cache_write_tokens": 3,
            "cache_creation_tokens": 3,
            "audio_tokens": 5,
        },
        "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 6, "accepted_prediction_tokens": 1},
        "cost": 0.1,
    }


def test_the_closing_chunk_has_the_streams_id_time_and_tier() -> None:
    renderer = ChunkRenderer(model="m", fallback_id="c", created=1, wants_usage=True)
    extra = {"service_tier": "flex", "system_fingerprint": "fp", "obfuscation": "x"}
    choice = {"index": 0, "delta": {}, "finish_reason": None}
    renderer.render(Chunk(choices=[choice], response_id="chatcmpl-1", created=5, extra=extra))

    closing = json.loads(renderer.render_usage(Usage()).removeprefix(b"data: "))
    assert (closing["id"], closing["created"]) == ("chatcmpl-1", 5)
    assert (closing["service_tier"], closing["system_fingerprint"]) == ("flex", "fp")
    assert "obfuscation" not in closing


def test_an_old_call_in_the_history_does_not_make_the_answer_old() -> None:
    called = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    history = [USER, called, {"role": "function", "name": "f", "content": "1"}]

    assert not parse(asking(*history, tools=[TOOL])).offers_functions
    assert parse(asking(*history, functions=[FUNCTION])).offers_functions
