"""What Google is asked for a Chat Completions request."""

import time
from typing import Any

import pytest

from functions.gateway.catalog import Model
from functions.gateway.errors import BadRequest, UpstreamError
from functions.providers.google import GoogleWire
from functions.providers.google.encode import encode_request
from functions.providers.google.signatures import PLACEHOLDER
from tests.builders import deployment, model
from tests.unit.providers.google_bodies import (
    GEMINI_2_5,
    GEMINI_3,
    LOOK,
    calling,
    encoded,
    gemini,
    message_of,
    request_of,
    result,
)

PNG = "data:image/png;base64,iVBORw0KGgo="
INLINE_PNG = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
ASKS = {"role": "user", "content": "Look"}


def parts_of_user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return encoded({"role": "user", "content": list(parts)})["contents"][0]["parts"]


# --- messages --------------------------------------------------------------------------------------


def test_instructions_become_the_system_instruction_wherever_they_stand() -> None:
    body = encoded({"role": "system", "content": "Be brief"}, ASKS, {"role": "developer", "content": "Be kind"})

    assert body["systemInstruction"] == {"parts": [{"text": "Be brief"}, {"text": "Be kind"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Look"}]}]


def test_instructions_alone_are_asked_with_an_empty_turn() -> None:
    assert encoded({"role": "system", "content": "Tell a joke"})["contents"] == [
        {"role": "user", "parts": [{"text": ""}]}
    ]


def test_neighbours_of_one_role_become_one_turn() -> None:
    assert encoded(ASKS, ASKS)["contents"] == [{"role": "user", "parts": [{"text": "Look"}, {"text": "Look"}]}]


def test_an_assistants_last_message_is_a_prefill() -> None:
    assert encoded(ASKS, {"role": "assistant", "content": "I see"})["contents"][1] == {
        "role": "model",
        "parts": [{"text": "I see"}],
    }


def test_an_echoed_refusal_is_text() -> None:
    contents = encoded(ASKS, {"role": "assistant", "content": None, "refusal": "No."}, ASKS)["contents"]

    assert contents[1]["parts"] == [{"text": "No."}]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": PNG}}, INLINE_PNG),
        (
            {"type": "image_url", "image_url": {"url": "https://example.com/cat.webp?size=2", "detail": "low"}},
            {"fileData": {"fileUri": "https://example.com/cat.webp?size=2", "mimeType": "image/webp"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://example.com/cat"}},
            {"fileData": {"fileUri": "https://example.com/cat", "mimeType": "image/jpeg"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        ),
        (
            {"type": "file", "file": {"file_id": "files/abc", "filename": "a.pdf"}},
            {
                "fileData": {
                    "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc",
                    "mimeType": "application/pdf",
                }
            },
        ),
        (
            {"type": "file", "file": {"file_data": "https://example.com/a.pdf"}},
            {"fileData": {"fileUri": "https://example.com/a.pdf", "mimeType": "application/pdf"}},
        ),
        (
            {"type": "file", "file": {"file_id": "https://youtu.be/lCdaVNyHtjU"}},
            {"fileData": {"fileUri": "https://youtu.be/lCdaVNyHtjU"}},
        ),
        (
            {"type": "file", "file": {"file_id": "gs://bucket/film", "format": "video/mp4"}},
            {"fileData": {"fileUri": "gs://bucket/film", "mimeType": "video/mp4"}},
        ),
        (
            {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}, "video_metadata": {"fps": 2}},
            {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}, "videoMetadata": {"fps": 2}},
        ),
    ],
)
def test_media_go_inline_or_by_their_address(part: dict[str, Any], expected: dict[str, Any]) -> None:
    assert parts_of_user(part) == [expected]


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png,raw"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "cat.png"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "http://127.0.0.1/cat.png"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "http://[::1]/cat.png"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "https://10.1.2.3/cat.png"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "https://169.254.169.254/latest"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "http://metadata.google.internal/x"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "http://localhost:8080/x"}}, "image_url.url"),
        ({"type": "input_audio", "input_audio": {"data": "UklGRg=="}}, "input_audio.format"),
        ({"type": "file", "file": {"file_data": "JVBERi0="}}, "file.file_data"),
        ({"type": "file", "file": {}}, "file"),
    ],
)
def test_broken_media_name_their_field(part: dict[str, Any], where: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parts_of_user({"type": "text", "text": "See"}, part)

    assert caught.value.param == f"messages[0].content[1].{where}"


def test_content_of_an_unknown_type_is_for_another_model() -> None:
    with pytest.raises(UpstreamError, match="unsupported_content"):
        parts_of_user({"type": "hologram"})


# --- calls and results -----------------------------------------------------------------------------


def test_results_of_parallel_calls_are_one_turn() -> None:
    body = encoded(ASKS, calling(("c1", "{}"), ("c2", "")), result("c1", '{"a": 1}'), result("c2", "[2]"))

    assert body["contents"][2] == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "c1", "name": "look", "response": {"a": 1}}},
            {"functionResponse": {"id": "c2", "name": "look", "response": {"output": "[2]"}}},
        ],
    }


@pytest.mark.parametrize("arguments", ["{", "[]", "1"])
def test_arguments_that_are_no_object_name_their_field(arguments: str) -> None:
    with pytest.raises(BadRequest) as caught:
        encoded(ASKS, calling(("c1", "{}"), ("c2", arguments)), result("c1", "ok"), result("c2", "ok"))

    assert caught.value.param == "messages[1].tool_calls[1].function.arguments"


def test_a_result_that_nothing_called_names_its_field() -> None:
    with pytest.raises(BadRequest) as caught:
        encoded(ASKS, result("c9", "ok"))

    assert caught.value.param == "messages[1].tool_call_id"


def test_an_id_that_is_used_again_names_the_call_before_it() -> None:
    peeked = {"id": "c1", "type": "function", "function": {"name": "peek", "arguments": "{}"}}

    body = encoded(
        ASKS,
        calling(("c1", "{}")),
        result("c1", "ok"),
        {"role": "assistant", "tool_calls": [peeked]},
        result("c1", "ok"),
    )

    answers = [part["functionResponse"]["name"] for turn in body["contents"][2::2] for part in turn["parts"]]
    assert answers == ["look", "peek"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("boom", {"error": "boom"}),
        ('{"code": 5}', {"error": {"code": 5}}),
        ('{"error": "boom"}', {"error": "boom"}),
        ([{"type": "text", "text": "boom"}], {"error": "boom"}),
    ],
)
def test_a_failed_result_is_an_error(content: Any, expected: dict[str, Any]) -> None:
    body = encoded(ASKS, calling(("c1", "{}")), {**result("c1", content), "is_error": True})

    assert body["contents"][2]["parts"][0]["functionResponse"]["response"] == expected


def test_integers_stay_exact_whatever_their_size() -> None:
    huge = f'{{"n":{2**64}}}'
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "maximum": 2**64}}}

    body = encoded(ASKS, calling(("c1", huge)), result("c1", huge), tools=[tool], response_format=ABOVE_64_BITS)

    assert body["contents"][1]["parts"][0]["functionCall"]["args"] == {"n": 2**64}
    assert body["contents"][2]["parts"][0]["functionResponse"]["response"] == {"n": 2**64}
    assert body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"]["maximum"] == 2**64
    assert str(2**64) in body["systemInstruction"]["parts"][0]["text"]


def test_many_media_beside_a_result_are_told_apart_in_one_pass() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    image = {"type": "image_url", "image_url": {"url": PNG}}

    began = time.process_time()
    body = encoded(ASKS, calling(("c1", "{}")), result("c1", [image, audio] * 4000), capabilities=GEMINI_3)

    assert time.process_time() - began < 1  # comparing each with each takes several seconds
    [answer, _, *beside] = body["contents"][2]["parts"]
    assert (len(answer["functionResponse"]["parts"]), len(beside)) == (4000, 4000)


def test_a_signature_comes_back_out_of_the_id() -> None:
    called = calling(("c1__thought__ab-_cd==", "{}"))

    _, turn, answer = encoded(ASKS, called, result("c1__thought__ab-_cd==", "ok"), capabilities=GEMINI_3)["contents"]

    assert turn["parts"] == [{"functionCall": {"id": "c1", "name": "look", "args": {}}, "thoughtSignature": "ab+/cd=="}]
    assert answer["parts"][0]["functionResponse"]["id"] == "c1"


def test_a_foreign_call_has_the_placeholder_only_where_the_model_insists() -> None:
    messages = (ASKS, calling(("toolu_1", "{}")), result("toolu_1", "ok"))

    insisting = encoded(*messages, capabilities=GEMINI_3)["contents"][1]["parts"]
    lenient = encoded(*messages, capabilities=GEMINI_2_5)["contents"][1]["parts"]

    assert [part.get("thoughtSignature") for part in insisting + lenient] == [PLACEHOLDER, None]


def test_thinking_of_another_model_is_left_out() -> None:
    claude = {"thinking_blocks": [{"type": "thinking", "thinking": "Hm", "signature": "EqQB"}], "content": "Yes"}

    assert encoded(ASKS, {"role": "assistant", **claude}, ASKS)["contents"][1]["parts"] == [{"text": "Yes"}]


def test_a_signature_of_a_thought_comes_back_where_it_was() -> None:
    parts = [
        {"text": "Hm", "thought": True, "thoughtSignature": "one"},
        {"text": "So", "thought": True},
        {"text": "Yes", "thoughtSignature": "two"},
        {"executableCode": {"code": "1"}},
        {"text": "!"},
    ]

    assert encoded(ASKS, message_of(*parts), ASKS)["contents"][1]["parts"] == parts


CALL = {"functionCall": {"id": "c1", "name": "look", "args": {"n": 2**60}}}
AUDIO = {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "AAAA"}}


@pytest.mark.parametrize(
    "parts",
    [
        [{"text": "one"}, INLINE_PNG, {"text": "two"}],
        [{"text": "one"}, INLINE_PNG, {"executableCode": {"code": "1"}}, INLINE_PNG],
        [INLINE_PNG, AUDIO, {"text": "two"}],
        [{"text": "one"}, {**AUDIO, "thoughtSignature": "sig"}],
        [{"text": "one"}, {**CALL, "partMetadata": {"a": 1}}, {**CALL, "thoughtSignature": "sig", "thought": True}],
        [{**INLINE_PNG, "videoMetadata": {"fps": 2}}, {"text": "two"}],
        [{"inlineData": {**INLINE_PNG["inlineData"], "displayName": "cat"}}],
        [{"inlineData": {**AUDIO["inlineData"], "displayName": "miaow"}}],
    ],
)
def test_a_turn_of_geminis_comes_back_as_it_was(parts: list[dict[str, Any]]) -> None:
    assert encoded(ASKS, message_of(*parts), ASKS)["contents"][1]["parts"] == parts


@pytest.mark.parametrize("entry", [{"images": 3}, {"tool_calls": -1}, {"tool_calls": "0"}, {"audio": [0]}])
def test_a_mark_of_what_the_echo_has_lost_is_left_out(entry: dict[str, Any]) -> None:
    lost = {"provider_specific_fields": {"gemini_parts": [{"at": 1, "partMetadata": {"a": 1}, **entry}]}}
    echo = {"role": "assistant", "content": "Yes", "images": [{"image_url": {"url": PNG}}], **lost}

    assert encoded(ASKS, echo)["contents"][1]["parts"] == [{"text": "Yes"}, INLINE_PNG]


@pytest.mark.parametrize(
    "fields",
    [{"thinking_blocks": "Hm"}, {"images": [5]}, {"images": [{"image_url": "x"}]}],
)
def test_an_extension_that_has_another_form_names_its_message(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        GoogleWire().encode(request_of(ASKS, {"role": "assistant", "content": "Yes", **fields}), gemini())

    assert caught.value.param == "messages[1]"


def test_malformed_marks_of_an_echo_are_left_out() -> None:
    fields = {"provider_specific_fields": {"gemini_parts": [{"at": "0"}, 7, {"at": 1, "thoughtSignature": "s"}]}}

    assert encoded(ASKS, {"role": "assistant", "content": "Yes", **fields})["contents"][1]["parts"] == [
        {"text": "Y", "thoughtSignature": "s"},
        {"text": "es"},
    ]


ABOVE_64_BITS = {
    "type": "json_schema",
    "json_schema": {"name": "a", "schema": {"type": "integer", "maximum": 2**64}},
}
IMAGE_RESULT = [{"type": "text", "text": "Done"}, {"type": "image_url", "image_url": {"url": PNG}}]


def test_an_image_of_a_result_is_inside_of_it() -> None:
    body = encoded(ASKS, calling(("c1", "{}")), result("c1", IMAGE_RESULT), capabilities=GEMINI_3)

    response = {"id": "c1", "name": "look", "response": {"output": "Done"}, "parts": [INLINE_PNG]}
    assert body["contents"][2]["parts"] == [{"functionResponse": response}]


def test_an_image_of_a_result_follows_all_results_where_the_model_takes_none_inside() -> None:
    body = encoded(ASKS, calling(("c1", "{}"), ("c2", "{}")), result("c1", IMAGE_RESULT), result("c2", "ok"))

    kinds = [next(iter(part)) for part in body["contents"][2]["parts"]]
    assert kinds == ["functionResponse", "functionResponse", "text", "inlineData"]


# --- tools -----------------------------------------------------------------------------------------


def test_a_function_has_its_json_schema() -> None:
    parameters = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "exclusiveMaximum": 9}}}
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}

    assert encoded(tools=[tool])["tools"] == [
        {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": parameters}]}
    ]


def test_schemas_keep_their_meaning_where_google_has_no_keyword() -> None:
    properties = {
        "kind": {"const": "cat"},
        "pet": {"$ref": "#/$defs/Pet", "description": "Mine"},
        "one": {"allOf": [{"type": "string"}], "title": "One"},
        "list": {"type": "array", "items": {"anyOf": [{"const": 1}, {"type": "null"}]}},
    }
    schema = {"type": "object", "properties": properties, "$defs": {"Pet": {"type": "object"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}

    sent = encoded(tools=[tool])["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"]

    assert sent["properties"] == {
        "kind": {"enum": ["cat"]},
        "pet": {"anyOf": [{"$ref": "#/$defs/Pet"}], "description": "Mine"},
        "one": {"type": "string", "title": "One"},
        "list": {"type": "array", "items": {"anyOf": [{"enum": [1]}, {"type": "null"}]}},
    }
    assert schema["properties"] is properties
    assert properties["kind"] == {"const": "cat"}


STRING = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"allOf": [STRING], "title": "One"}, {**STRING, "title": "One"}),
        ({"allOf": [{"title": "A", **STRING}], "title": "B"}, {"anyOf": [{"title": "A", **STRING}], "title": "B"}),
        (
            {"properties": {"a": STRING}, "allOf": [{"properties": {"b": STRING}}]},
            {"properties": {"a": STRING}, "anyOf": [{"properties": {"b": STRING}}]},
        ),
        ({"allOf": [{"title": "A"}], "title": "B", "anyOf": [STRING]}, None),
        ({"allOf": [True], "title": "B"}, None),
        ({"allOf": [STRING, {"minLength": 1}]}, None),
        ({"allOf": 5}, None),
    ],
)
def test_an_all_of_loses_nothing(schema: dict[str, Any], expected: dict[str, Any] | None) -> None:
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": schema}}},
    }

    sent = encoded(tools=[tool])["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"]

    assert sent["properties"]["x"] == (expected or schema)


@pytest.mark.parametrize(
    ("parameters", "where"),
    [
        ({"type": "array"}, "type"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/Missing"}}}, "properties.a.$ref"),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.com/s"}}}, "properties.a.$ref"),
        ({"anyOf": [{}, {"items": {"$ref": "#/no"}}], "maximum": 2**64}, "anyOf[1].items.$ref"),
    ],
)
def test_a_schema_that_google_cant_take_names_its_field(parameters: dict[str, Any], where: str) -> None:
    with pytest.raises(BadRequest) as caught:
        encoded(tools=[LOOK, {"type": "function", "function": {"name": "f", "parameters": parameters}}])

    assert caught.value.param == f"tools[1].function.parameters.{where}"


def test_tools_that_google_runs_pass_through() -> None:
    tools = [{"google_search": {}}, {"codeExecution": {}}, {"type": "file_search", "fileSearchStoreNames": ["a"]}]

    assert encoded(tools=tools)["tools"] == [
        {"googleSearch": {}},
        {"codeExecution": {}},
        {"fileSearch": {"fileSearchStoreNames": ["a"]}},
    ]


def test_functions_beside_googles_tools_ask_for_their_invocations() -> None:
    body = encoded(tools=[LOOK, {"urlContext": {}}], capabilities=GEMINI_3)

    assert body["toolConfig"] == {"includeServerSideToolInvocations": True}


@pytest.mark.parametrize("capabilities", [{}, GEMINI_2_5])
def test_functions_beside_googles_tools_are_for_a_model_that_takes_both(capabilities: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError, match=r"unsupported_content.*googleSearch"):
        encoded(tools=[LOOK, {"googleSearch": {}}], capabilities=capabilities)


def test_functions_stand_beside_the_use_of_a_computer_with_every_model() -> None:
    body = encoded(tools=[LOOK, {"computerUse": {}}], capabilities=GEMINI_2_5)

    assert [kind for tool in body["tools"] for kind in tool] == ["functionDeclarations", "computerUse"]
    assert "toolConfig" not in body


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"generationConfig": []}, "generationConfig"),
        ({"generation_config": "x"}, "generation_config"),
        ({"tool_config": 5}, "tool_config"),
        ({"tools": [LOOK], "tool_choice": {"allowed_tools": {"tools": [5]}}}, "tool_choice.allowed_tools.tools"),
        ({"tools": [LOOK], "tool_choice": {"allowed_tools": {"tools": 5}}}, "tool_choice.allowed_tools.tools"),
        ({"tools": [LOOK], "tool_choice": {"allowed_tools": {"tools": [{}]}}}, "tool_choice.allowed_tools.tools"),
        ({"stop": list("abcdef")}, "stop"),
    ],
)
def test_a_parameter_that_google_cant_take_names_its_field(body: dict[str, Any], where: str) -> None:
    with pytest.raises(BadRequest) as caught:
        GoogleWire().encode(request_of(**body), gemini())

    assert caught.value.param == where


def test_tools_of_another_provider_are_for_another_model() -> None:
    with pytest.raises(UpstreamError, match=r"tools\[0\]"):
        encoded(tools=[{"type": "web_search_20250305", "name": "web_search"}])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "look"}}, {"mode": "ANY", "allowedFunctionNames": ["look"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [LOOK]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["look"]},
        ),
    ],
)
def test_a_tool_choice_becomes_the_mode(choice: Any, expected: dict[str, Any]) -> None:
    assert encoded(tools=[LOOK], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": expected}


def test_strict_functions_are_validated_where_the_model_can() -> None:
    strict = {"type": "function", "function": {**LOOK["function"], "strict": True}}

    assert encoded(tools=[strict], capabilities=GEMINI_3)["toolConfig"]["functionCallingConfig"]["mode"] == "VALIDATED"
    assert "toolConfig" not in encoded(tools=[strict, LOOK], capabilities=GEMINI_3)
    assert "toolConfig" not in encoded(tools=[strict])


# --- limits ----------------------------------------------------------------------------------------


def test_no_more_tokens_are_asked_for_than_the_model_has() -> None:
    known = Model(upstream_model="gemini", prices=model().prices, max_output_tokens=8192)

    config = encode_request(request_of(max_tokens=100_000), deployment("gemini", "gemini", model=known))

    assert config["generationConfig"] == {"maxOutputTokens": 8192}
    assert encoded(max_tokens=100_000)["generationConfig"] == {"maxOutputTokens": 100_000}


@pytest.mark.parametrize(
    ("seed", "sent"), [(5, 5), (-(2**31), -(2**31)), (2**31, 0), (2**63 + 7, 7), (-(2**40) + 1, 1)]
)
def test_a_seed_over_32_bits_is_folded(seed: int, sent: int) -> None:
    assert encoded(seed=seed)["generationConfig"] == {"seed": sent}


@pytest.mark.parametrize("stop", ["", [""], []])
def test_an_empty_stop_stops_nothing(stop: Any) -> None:
    assert "generationConfig" not in encoded(stop=stop)


def test_five_stops_are_sent() -> None:
    assert encoded(stop=[*"abcde", ""])["generationConfig"] == {"stopSequences": list("abcde")}


# --- the form of the answer ------------------------------------------------------------------------

JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {"type": "object"}}}


def test_a_json_schema_is_native() -> None:
    assert encoded(response_format=JSON_SCHEMA)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
    }


def test_any_json_has_only_its_media_type() -> None:
    assert encoded(response_format={"type": "json_object"})["generationConfig"] == {
        "responseMimeType": "application/json"
    }


def test_a_json_schema_beside_functions_is_native_where_the_model_can_combine_them() -> None:
    config = encoded(response_format=JSON_SCHEMA, tools=[LOOK], capabilities=GEMINI_3)["generationConfig"]

    assert config["responseJsonSchema"] == {"type": "object"}


def test_a_json_schema_beside_functions_is_an_instruction_where_the_model_cant() -> None:
    body = encoded(response_format=JSON_SCHEMA, tools=[LOOK], capabilities=GEMINI_2_5)

    assert "generationConfig" not in body
    assert '{"type":"object"}' in body["systemInstruction"]["parts"][0]["text"]


# --- thinking --------------------------------------------------------------------------------------

PRO_2_5 = {"thinking_budget": {"min": 128, "max": 32_768, "off": False}}
FLASH_3 = {"thinking_levels": ["minimal", "low", "medium", "high"]}
PRO_3 = {"thinking_levels": ["low", "high"]}


@pytest.mark.parametrize(
    ("capabilities", "effort", "expected"),
    [
        (GEMINI_2_5, "none", {"thinkingBudget": 0}),
        (PRO_2_5, "none", {"thinkingBudget": 128}),
        (GEMINI_2_5, "minimal", {"thinkingBudget": 1024, "includeThoughts": True}),
        (GEMINI_2_5, "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        (PRO_2_5, "high", {"thinkingBudget": 24_576, "includeThoughts": True}),
        (PRO_2_5, "xhigh", {"thinkingBudget": 32_768, "includeThoughts": True}),
        (FLASH_3, "none", {"thinkingLevel": "minimal"}),
        (FLASH_3, "minimal", {"thinkingLevel": "minimal", "includeThoughts": True}),
        (PRO_3, "minimal", {"thinkingLevel": "low", "includeThoughts": True}),
        (PRO_3, "medium", {"thinkingLevel": "high", "includeThoughts": True}),
        (PRO_3, "max", {"thinkingLevel": "high", "includeThoughts": True}),
    ],
)
def test_an_effort_is_a_level_or_a_budget(capabilities: Any, effort: str, expected: dict[str, Any]) -> None:
    body = encoded(reasoning_effort=effort, capabilities=capabilities)

    assert body["generationConfig"]["thinkingConfig"] == expected


@pytest.mark.parametrize(
    ("capabilities", "thinking", "expected"),
    [
        (GEMINI_2_5, {"type": "enabled", "budget_tokens": 2000}, {"thinkingBudget": 2000, "includeThoughts": True}),
        (GEMINI_2_5, {"type": "enabled", "budget_tokens": 90_000}, {"thinkingBudget": 24_576, "includeThoughts": True}),
        (PRO_2_5, {"type": "enabled", "budget_tokens": 7}, {"thinkingBudget": 128, "includeThoughts": True}),
        (PRO_2_5, {"type": "disabled"}, {"thinkingBudget": 128}),
        (GEMINI_2_5, {"type": "adaptive"}, {"includeThoughts": True}),
        (FLASH_3, {"type": "enabled", "budget_tokens": 1000}, {"thinkingLevel": "low", "includeThoughts": True}),
        (FLASH_3, {"type": "enabled", "budget_tokens": 99_999}, {"thinkingLevel": "high", "includeThoughts": True}),
        (FLASH_3, {"type": "disabled"}, {"thinkingLevel": "minimal"}),
    ],
)
def test_thinking_keeps_to_what_the_model_takes(capabilities: Any, thinking: Any, expected: dict[str, Any]) -> None:
    assert encoded(thinking=thinking, capabilities=capabilities)["generationConfig"]["thinkingConfig"] == expected


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": "many"}}, "thinking.budget_tokens"),
    ],
)
def test_a_wish_that_means_nothing_names_its_field(body: dict[str, Any], where: str) -> None:
    with pytest.raises(BadRequest) as caught:
        encode_request(request_of(**body), gemini(GEMINI_2_5))

    assert caught.value.param == where


# --- Google's own ----------------------------------------------------------------------------------


def test_googles_own_parameters_pass_through_in_either_case() -> None:
    body = encoded(
        safety_settings=[{"category": "X"}],
        cachedContent="cachedContents/1",
        labels={"team_name": "a"},
        media_resolution="MEDIA_RESOLUTION_LOW",
        tools=[LOOK],
        tool_choice="auto",
        tool_config={"retrieval_config": {"languageCode": "en"}},
    )

    assert body["safetySettings"] == [{"category": "X"}]
    assert body["cachedContent"] == "cachedContents/1"
    assert body["labels"] == {"team_name": "a"}
    assert body["generationConfig"] == {"mediaResolution": "MEDIA_RESOLUTION_LOW"}
    assert body["toolConfig"] == {
        "functionCallingConfig": {"mode": "AUTO"},
        "retrievalConfig": {"languageCode": "en"},
    }


def test_googles_own_configuration_outranks_the_translated_one() -> None:
    body = encoded(
        temperature=1, max_tokens=5, generationConfig={"temperature": 0, "image_config": {"aspectRatio": "1:1"}}
    )

    assert body["generationConfig"] == {"temperature": 0, "maxOutputTokens": 5, "imageConfig": {"aspectRatio": "1:1"}}


def test_another_audio_format_than_geminis_is_for_another_model() -> None:
    with pytest.raises(UpstreamError, match=r"audio\.format"):
        encoded(modalities=["audio"], audio={"voice": "Kore", "format": "mp3"})
