"""OpenAI's wire at the gateway's own edge."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.gateway.errors import BadRequest
from functions.gateway.ports import ChatRequest
from functions.gateway.wire import parse_chat_request

USER = {"role": "user", "content": "hi"}


def parse(body: Any) -> ChatRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_chat_request(raw, drop_params=True)


def asking(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": list(messages) or [USER], **fields}


def part(**fields: Any) -> dict[str, Any]:
    return asking({"role": "user", "content": [fields]})


TOOL = {"type": "function", "function": {"name": "f"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


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
    ],
)
def test_what_openai_takes_passes(body: dict[str, Any]) -> None:
    assert parse(body).body == body


def test_an_unknown_parameter_passes_through() -> None:
    assert parse(asking(invented={"later": [1]})).body["invented"] == {"later": [1]}


def test_the_gateways_own_fields_stay_here() -> None:
    request = parse(asking(fallbacks=["gemini-pro"]))

    assert request.fallbacks == ("gemini-pro",)
    assert "fallbacks" not in request.body


def test_fallbacks_can_be_switched_off() -> None:
    assert parse(asking(disable_fallbacks=True)).fallbacks == ()


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
    ],
)
def test_bad_input_is_refused_by_the_name_of_its_field(body: Any, param: str | None, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(body)

    assert (refused.value.param, refused.value.code) == (param, code)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
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
