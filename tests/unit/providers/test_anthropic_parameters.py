"""Each parameter of Chat Completions becomes on the Messages wire what the table says."""

from typing import Any

import pytest

from functions.gateway.errors import BadRequest, UpstreamError
from functions.gateway.ports import ChatRequest
from functions.providers.anthropic import AnthropicWire
from functions.providers.anthropic.betas import beta_headers
from functions.providers.anthropic.encode import dropped_params, encode_request
from functions.providers.anthropic.parameters import PARAMETERS
from functions.providers.anthropic.schema import strict_schema
from functions.providers.parameters import KNOWN
from tests.unit.providers.claude import BUDGET, NEWEST, TOOL, USER, deployment, dropped, request, sent

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
JSON_OBJECT = {"type": "json_object"}
FUNCTION = TOOL["function"]

# For each parameter a value that asks for something, with what it needs beside it.
EXAMPLES: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_tokens": 100},
    "max_completion_tokens": {"max_completion_tokens": 100},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 5},
    "n": {"n": 2},
    "stop": {"stop": ["END"]},
    "seed": {"seed": 1},
    "logprobs": {"logprobs": True},
    "top_logprobs": {"top_logprobs": 2},
    "logit_bias": {"logit_bias": {"50256": -100}},
    "presence_penalty": {"presence_penalty": 1},
    "frequency_penalty": {"frequency_penalty": 1},
    "tools": {"tools": [TOOL]},
    "tool_choice": {"tool_choice": "required", "tools": [TOOL]},
    "parallel_tool_calls": {"parallel_tool_calls": False, "tools": [TOOL]},
    "response_format": {"response_format": JSON_SCHEMA},
    "reasoning_effort": {"reasoning_effort": "low"},
    "thinking": {"thinking": {"type": "adaptive"}},
    "verbosity": {"verbosity": "low"},
    "modalities": {"modalities": ["text", "audio"]},
    "audio": {"audio": {"voice": "alloy", "format": "wav"}},
    "prediction": {"prediction": {"type": "content", "content": "x"}},
    "web_search_options": {"web_search_options": {}},
    "service_tier": {"service_tier": "default"},
    "user": {"user": "u1"},
    "safety_identifier": {"safety_identifier": "u1"},
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "prompt_cache_retention": {"prompt_cache_retention": "24h"},
    "metadata": {"metadata": {"user_id": "u1"}},
    "store": {"store": True},
}
SHOWN_ELSEWHERE = {"messages", "model", "stream", "stream_options"}
AT_THE_EDGE = {"functions", "function_call"}  # they come as `tools` and `tool_choice`


def of_kind(*kinds: str) -> list[str]:
    return [name for name in EXAMPLES if PARAMETERS[name].kind in kinds]


def test_the_table_names_every_parameter() -> None:
    assert PARAMETERS.keys() == set(KNOWN)
    assert EXAMPLES.keys() == set(KNOWN) - SHOWN_ELSEWHERE - AT_THE_EDGE


@pytest.mark.parametrize("name", of_kind("sent", "emulated"))
def test_what_the_table_sends_changes_what_is_sent(name: str) -> None:
    body = EXAMPLES[name]
    without = {other: value for other, value in body.items() if other != name}

    assert dropped(**body) == ()
    assert sent(**body) != sent(**without)


@pytest.mark.parametrize("name", of_kind("dropped"))
def test_what_the_table_drops_is_left_out_by_name(name: str) -> None:
    assert dropped(**EXAMPLES[name]) == (name,)
    assert sent(**EXAMPLES[name]) == sent()


@pytest.mark.parametrize("name", of_kind("dropped"))
def test_what_the_table_drops_is_refused_where_the_configuration_says_so(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        encode_request(request(drop_params=False, **EXAMPLES[name]), deployment())

    assert caught.value.param == name


@pytest.mark.parametrize("name", of_kind("refused"))
def test_what_the_table_refuses_is_left_to_another_model(name: str) -> None:
    with pytest.raises(UpstreamError, match=name) as caught:
        sent(**EXAMPLES[name])

    assert caught.value.status == "unsupported_content"


@pytest.mark.parametrize(
    "body",
    [
        {"n": 1},
        {"modalities": ["text"]},
        {"modalities": []},
        {"audio": {}},
        {"thinking": {}},
        {"seed": None},
        {"presence_penalty": 0},
    ],
)
def test_what_asks_for_nothing_is_not_dropped(body: dict[str, Any]) -> None:
    assert dropped(**body) == ()
    assert sent(**body) == sent()


def test_a_parameter_of_anthropics_own_passes() -> None:
    edits = {"edits": [{"type": "clear_tool_uses_20250919"}]}

    assert sent(context_management=edits)["context_management"] == edits


@pytest.mark.parametrize("name", ["speed", "inference_geo", "fallbacks", "unheard_of"])
def test_what_changes_the_price_or_is_unknown_is_dropped(name: str) -> None:
    assert dropped(**{name: "x"}) == (name,)


def test_there_is_always_a_bound() -> None:
    assert sent()["max_tokens"] == 16_384


def test_a_bound_over_the_models_own_is_that() -> None:
    assert sent(to=BUDGET, max_tokens=1_000_000)["max_tokens"] == 64_000


def test_a_stop_sequence_of_white_space_is_left_out() -> None:
    assert sent(stop=["\n", "END"])["stop_sequences"] == ["END"]
    assert "stop_sequences" not in sent(stop="\n")


@pytest.mark.parametrize(
    ("choice", "given"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
    ],
)
def test_a_choice_has_anthropics_word(choice: Any, given: dict[str, Any]) -> None:
    assert sent(tools=[TOOL], tool_choice=choice)["tool_choice"] == given


def test_one_call_at_a_time_is_part_of_the_choice() -> None:
    body = sent(tools=[TOOL], tool_choice="required", parallel_tool_calls=False)

    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}


def test_no_tools_means_no_choice() -> None:
    assert "tool_choice" not in sent(tool_choice="auto", parallel_tool_calls=False)


@pytest.mark.parametrize(
    ("choice", "words"),
    [("required", "at least one of the tools"), ({"type": "function", "function": {"name": "weather"}}, "'weather'")],
)
def test_a_model_that_can_not_be_forced_is_asked_in_words(choice: Any, words: str) -> None:
    body = sent(to=NEWEST, tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)

    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert words in body["system"]


def test_a_choice_among_some_of_the_tools_falls_back() -> None:
    with pytest.raises(UpstreamError, match="allowed_tools"):
        sent(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": {}})


def test_a_tool_keeps_what_anthropic_knows_of_tools() -> None:
    tool = {**TOOL, "cache_control": {"type": "ephemeral"}, "defer_loading": True}

    assert sent(tools=[tool])["tools"] == [
        {
            "name": "weather",
            "input_schema": {"type": "object", "properties": {}},
            "cache_control": {"type": "ephemeral"},
            "defer_loading": True,
        }
    ]


def test_a_tool_of_anthropics_own_passes() -> None:
    tool = {"type": "code_execution_20260120", "name": "code_execution"}

    assert sent(tools=[tool, TOOL])["tools"][0] == tool


def test_a_tool_without_parameters_takes_an_empty_object() -> None:
    tool = {"type": "function", "function": {"name": "now"}}

    assert sent(tools=[tool])["tools"] == [{"name": "now", "input_schema": {"type": "object", "properties": {}}}]


def test_a_schema_of_no_object_is_named_by_its_path() -> None:
    tool = {"type": "function", "function": {"name": "now", "parameters": {"type": "array"}}}

    with pytest.raises(BadRequest) as caught:
        sent(tools=[TOOL, tool])

    assert caught.value.param == "tools[1].function.parameters.type"


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
def test_a_schema_that_another_model_may_take_falls_back(keyword: str) -> None:
    tool = {"type": "function", "function": {"name": "now", "parameters": {keyword: []}}}

    with pytest.raises(UpstreamError, match=keyword) as caught:
        sent(tools=[TOOL, tool])

    assert caught.value.status == "unsupported_content"


def test_a_tool_that_asks_a_second_model_falls_back() -> None:
    with pytest.raises(UpstreamError) as caught:
        sent(tools=[{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-8"}])

    assert caught.value.status == "unsupported_content"


def test_a_strict_schema_says_in_words_what_a_grammar_can_not_hold() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "description": "Years"},
            "mail": {"type": "string", "format": "email", "maxLength": 9},
            "code": {"type": "string", "format": "zip"},
            "tags": {"type": "array", "items": {"oneOf": [{"type": "string"}]}, "minItems": 3},
        },
        "$defs": {"any": {"type": "object", "additionalProperties": {"type": "string"}}},
    }
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}

    (given,) = sent(tools=[tool])["tools"]

    assert given["strict"] is True
    assert given["input_schema"] == {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "description": "Years\n\n{minimum: 0}"},
            "mail": {"type": "string", "format": "email", "description": "{maxLength: 9}"},
            "code": {"type": "string", "description": "{format: zip}"},
            "tags": {
                "type": "array",
                "items": {"anyOf": [{"type": "string"}]},
                "description": "{minItems: 3}",
            },
        },
        "$defs": {
            "any": {
                "type": "object",
                "additionalProperties": False,
                "description": "{additionalProperties: {'type': 'string'}}",
            }
        },
        "additionalProperties": False,
    }


def test_a_model_without_native_schemas_is_sent_no_strict_tool() -> None:
    tool = {"type": "function", "function": {**FUNCTION, "strict": True}}

    (given,) = encode_request(request(tools=[tool]), deployment(native_structured_output=False))["tools"]

    assert "strict" not in given


def test_a_schema_that_is_not_strict_stays_as_it_is() -> None:
    parameters = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}}

    (given,) = sent(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])["tools"]

    assert given["input_schema"] == parameters


def test_an_answers_schema_is_native() -> None:
    body = sent(response_format=JSON_SCHEMA, reasoning_effort="high")

    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "high"}


def test_a_model_without_native_schemas_answers_with_a_tool() -> None:
    body = encode_request(request(response_format=JSON_SCHEMA), deployment(native_structured_output=False))

    (tool,) = body["tools"]
    assert (tool["name"], tool["input_schema"]) == ("json_tool_call", SCHEMA)
    assert body["tool_choice"]["name"] == "json_tool_call"


def test_any_json_object_comes_as_a_tools_input() -> None:
    (tool,) = sent(response_format=JSON_OBJECT)["tools"]

    assert tool["input_schema"] == {"type": "object", "additionalProperties": True}


@pytest.mark.parametrize(
    ("model", "body"), [(NEWEST, {}), (BUDGET, {"tools": [TOOL]}), (BUDGET, {"reasoning_effort": "low"})]
)
def test_any_json_object_is_asked_for_in_words_where_nothing_can_be_forced(model: str, body: dict[str, Any]) -> None:
    given = sent(to=model, response_format=JSON_OBJECT, **body)

    assert "one JSON object" in given["system"]
    assert "tool_choice" not in given


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "response_format.json_schema.schema"),
        ({"type": "xml"}, "response_format.type"),
    ],
)
def test_a_form_that_is_none_is_named_by_its_path(wanted: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        sent(response_format=wanted)

    assert caught.value.param == param


def test_a_search_is_a_tool_that_the_provider_runs() -> None:
    place = {"type": "approximate", "approximate": {"country": "FR", "city": "Paris"}}

    (tool,) = sent(web_search_options={"search_context_size": "low", "user_location": place})["tools"]

    assert tool == {
        "type": "web_search_20250305",
        "name": "web_search",
        "max_uses": 1,
        "user_location": {"type": "approximate", "country": "FR", "city": "Paris"},
    }


@pytest.mark.parametrize(
    ("tier", "given"), [("auto", "auto"), ("default", "standard_only"), ("priority", "auto"), ("flex", None)]
)
def test_a_tier_has_anthropics_word(tier: str, given: str | None) -> None:
    assert sent(service_tier=tier).get("service_tier") == given
    assert dropped(service_tier=tier) == (() if given else ("service_tier",))


@pytest.mark.parametrize(
    ("body", "betas"),
    [
        ({"mcp_servers": [{"type": "url"}]}, "mcp-client-2025-04-04"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "compact-2026-01-12"),
        ({"container": {"skills": []}}, "skills-2025-10-02"),
        ({"tools": [{"type": "computer_20251124", "name": "computer"}]}, "computer-use-2025-11-24"),
        ({}, None),
    ],
)
def test_the_betas_that_a_body_needs_are_named(body: dict[str, Any], betas: str | None) -> None:
    asked = request(**body)

    assert beta_headers(asked, encode_request(asked, deployment())).get("anthropic-beta") == betas


def test_the_clients_betas_come_first() -> None:
    part = {"type": "file", "file": {"file_id": "file_1"}}
    body = {"model": "claude", "messages": [{"role": "user", "content": [part]}]}
    asked = ChatRequest(
        alias="claude", body=body, is_stream=False, wants_usage=False, headers={"anthropic-beta": "b-1, a-2"}
    )

    assert beta_headers(asked, encode_request(asked, deployment())) == {
        "anthropic-beta": "b-1,a-2,files-api-2025-04-14"
    }


def strict(**parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}


def formed(**schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


UNTYPED = {
    "role": "assistant",
    "content": "Hi",
    "provider_specific_fields": {"content_blocks": [{"type": "text", "text": "Hi"}, {"id": 1}]},
}
ODD_FILE = {"type": "file", "file": {"file_id": "x", "format": 1}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": "many"}}, "thinking.budget_tokens"),
        ({"context_management": "none"}, "context_management"),
        ({"context_management": {"edits": [1]}}, "context_management"),
        ({"output_config": "high", "reasoning_effort": "low"}, "output_config"),
        ({"web_search_options": {"user_location": "Paris"}}, "web_search_options"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "c"}}}, "tool_choice"),
        ({"response_format": formed(properties=[])}, "response_format.json_schema.schema"),
        ({"response_format": formed(anyOf={})}, "response_format.json_schema.schema"),
        ({"messages": [USER, {"role": "assistant", "content": "Hi", "thinking_blocks": ["x"]}, USER]}, "messages[1]"),
        (
            {"messages": [USER, {"role": "assistant", "content": "", "provider_specific_fields": [1]}, USER]},
            "messages[1]",
        ),
        ({"messages": [{"role": "user", "content": [ODD_FILE]}]}, "messages[0]"),
        ({"messages": [USER, UNTYPED, USER]}, "messages[1]"),
        ({"tools": [TOOL, strict(properties=1)]}, "tools[1].function.parameters"),
        ({"tools": [strict(**{"$defs": [1]})]}, "tools[0].function.parameters"),
    ],
)
def test_an_extension_of_another_form_is_named_by_its_path(body: dict[str, Any], param: str) -> None:
    wire = AnthropicWire()
    asked = request(*body.get("messages", ()), **{name: value for name, value in body.items() if name != "messages"})

    with pytest.raises(BadRequest) as caught:
        wire.headers(asked, wire.encode(asked, deployment()))

    assert caught.value.param == param


def test_a_schema_that_is_said_in_words_keeps_integers_of_any_size() -> None:
    able = deployment(native_structured_output=False)

    body = encode_request(request(response_format=formed(maximum=2**64), tools=[TOOL]), able)

    assert str(2**64) in body["system"]


def test_a_deep_schema_is_walked_once() -> None:
    seen: list[str] = []

    class Counted(dict[str, Any]):
        def items(self) -> Any:
            seen.append("walked")
            return super().items()

    schema: dict[str, Any] = Counted(type="string", maxLength=1)
    for _ in range(50):
        schema = Counted(type="object", properties={"inner": schema})

    strict_schema(schema)

    assert len(seen) <= 3 * 51


def test_a_schema_that_fits_is_not_copied() -> None:
    schema = {"anyOf": [SCHEMA, {"type": "array", "items": SCHEMA}, True]}

    assert strict_schema(schema) is schema


def test_what_is_dropped_is_sorted() -> None:
    assert dropped_params(request(USER, seed=1, n=2, logprobs=True), deployment()) == ("logprobs", "n", "seed")
