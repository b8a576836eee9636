"""What OpenAI, and servers that speak its wire, are asked."""

from dataclasses import replace
from typing import Any

import pytest

from functions.bootstrap import load_catalog
from functions.gateway.errors import BadRequest, UpstreamError
from functions.gateway.ports import ChatRequest, Deployment
from functions.providers.openai.encode import dropped_params, encode_request, short_call_id
from functions.providers.openai.parameters import PARAMETERS
from functions.providers.parameters import KNOWN
from tests.builders import chat_request, deployment, model

CATALOG = load_catalog()
USER = {"role": "user", "content": "Say hello"}
LONG_ID = "call_1__thought__" + "A" * 200
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def gpt(upstream_model: str) -> Deployment:
    return deployment("openai", upstream_model, model=CATALOG.models["openai", upstream_model])


def able(**capabilities: Any) -> Deployment:
    return deployment(model=replace(model(), capabilities=capabilities))


SERVER = able(compatible_server=True)


def sent(to: Deployment, **body: Any) -> dict[str, Any]:
    return encode_request(chat_request(**body), to)


def dropped(to: Deployment, **body: Any) -> tuple[str, ...]:
    return dropped_params(chat_request(**body), to)


def call(call_id: str = "call_1", **fields: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}, **fields}


# --- parameters ------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "messages": [USER], "model": "gpt-4o", "max_tokens": 5, "max_completion_tokens": 5,
    "temperature": 0.5, "top_p": 0.5, "top_k": 5, "n": 2, "stop": ["x"], "seed": 1, "logprobs": True,
    "top_logprobs": 2, "logit_bias": {"1": 1}, "presence_penalty": 1, "frequency_penalty": 1, "tools": [TOOL],
    "tool_choice": "required", "parallel_tool_calls": False, "functions": [{"name": "f"}], "function_call": "auto",
    "response_format": {"type": "json_object"}, "reasoning_effort": "low", "thinking": {"type": "enabled"},
    "verbosity": "low", "modalities": ["text"], "audio": {"voice": "ash"}, "prediction": {"type": "content"},
    "web_search_options": {}, "service_tier": "flex", "user": "ada", "safety_identifier": "ada",
    "prompt_cache_key": "k", "prompt_cache_retention": "24h", "metadata": {"a": "b"}, "store": True,
}  # fmt: skip
GENEROUS = able(web_search=True, verbosity=True)
THINKING = able(reasoning=True, verbosity=True)


def taken_by(to: Deployment, name: str) -> bool:
    body = sent(to, **{"tools": [TOOL], "store": True, name: VALUES[name]})
    return body.get(name) == VALUES[name]


def test_every_known_parameter_has_a_treatment() -> None:
    assert PARAMETERS.keys() == set(KNOWN)
    assert PARAMETERS.keys() - VALUES.keys() == {"stream", "stream_options"}


@pytest.mark.parametrize("name", VALUES)
def test_what_the_table_says_is_done(name: str) -> None:
    is_taken = taken_by(GENEROUS, name) or taken_by(THINKING, name)

    assert is_taken is (PARAMETERS[name].kind in ("sent", "emulated"))
    assert (name in dropped(GENEROUS, **{"store": True, name: VALUES[name]})) is (
        PARAMETERS[name].kind == "dropped" or name == "reasoning_effort"
    )


@pytest.mark.parametrize("name", VALUES.keys() - {"max_completion_tokens"})
def test_a_compatible_server_is_sent_everything(name: str) -> None:
    assert taken_by(SERVER, name)


def test_an_unknown_parameter_passes_through() -> None:
    assert sent(gpt("gpt-4o"), invented={"later": 1})["invented"] == {"later": 1}


def test_a_parameter_of_another_providers_is_left_out_and_named() -> None:
    assert "safety_settings" not in sent(gpt("gpt-4o"), safety_settings=[])
    assert dropped(gpt("gpt-4o"), safety_settings=[], mcp_servers=[]) == ("mcp_servers", "safety_settings")


@pytest.mark.parametrize(
    "name",
    [
        "generation_config", "thinkingConfig", "thinking_config", "imageConfig", "mediaResolution", "toolConfig",
        "responseModalities", "modelArmorConfig", "tool_config", "system_instruction", "thread", "compaction",
        "diagnostics", "output_format", "speed", "inference_geo", "betas", "labels", "stop_sequences",
    ],
)  # fmt: skip
def test_a_parameter_that_only_another_provider_documents_is_left_out(name: str) -> None:
    assert name not in sent(gpt("gpt-4o"), **{name: {}})
    assert dropped(gpt("gpt-4o"), **{name: {}}) == (name,)
    assert sent(SERVER, **{name: {}})[name] == {}


def test_the_upstreams_own_name_is_sent() -> None:
    assert sent(gpt("gpt-4.1"), model="alias")["model"] == "gpt-4.1"


# --- what a model refuses --------------------------------------------------------------------------


@pytest.mark.parametrize("upstream_model", ["gpt-5", "gpt-5.4", "o3"])
def test_a_reasoning_model_gets_its_limit_under_the_newer_name(upstream_model: str) -> None:
    body = sent(gpt(upstream_model), max_tokens=7)

    assert (body.get("max_tokens"), body["max_completion_tokens"]) == (None, 7)


def test_the_newer_name_wins_where_both_are_given() -> None:
    assert sent(gpt("gpt-5"), max_tokens=7, max_completion_tokens=9)["max_completion_tokens"] == 9


def test_a_compatible_server_gets_its_limit_under_the_older_name() -> None:
    assert sent(SERVER, max_completion_tokens=7)["max_tokens"] == 7


def test_a_limit_over_the_models_own_is_lowered_to_it() -> None:
    assert sent(gpt("gpt-4o"), max_tokens=64_000)["max_tokens"] == 16_384


def test_other_models_get_their_limit_as_it_is() -> None:
    assert sent(gpt("gpt-4o"), max_tokens=7)["max_tokens"] == 7


SAMPLING: dict[str, Any] = {"temperature": 0.2, "top_p": 0.9, "logprobs": True, "presence_penalty": 1}


@pytest.mark.parametrize(
    ("upstream_model", "effort", "refused"),
    [
        ("gpt-4o", None, []),
        ("gpt-5", None, ["logprobs", "presence_penalty", "temperature", "top_p"]),
        ("gpt-5-chat-latest", None, []),
        ("gpt-5.4", None, ["presence_penalty"]),
        ("gpt-5.4", "high", ["logprobs", "presence_penalty", "temperature", "top_p"]),
        ("gpt-5.6", "none", ["presence_penalty"]),
        ("gpt-5.6", None, ["logprobs", "presence_penalty", "temperature", "top_p"]),
        ("gpt-4o-search-preview", None, ["logprobs", "presence_penalty", "temperature", "top_p"]),
    ],
)
def test_sampling_is_asked_only_of_models_that_sample(
    upstream_model: str, effort: str | None, refused: list[str]
) -> None:
    asked = SAMPLING if effort is None else {**SAMPLING, "reasoning_effort": effort}

    assert dropped(gpt(upstream_model), **asked) == tuple(refused)
    assert not set(refused) & sent(gpt(upstream_model), **asked).keys()


def test_a_value_that_changes_nothing_is_not_refused() -> None:
    asked = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "stop": [], "logprobs": False}

    assert dropped(gpt("gpt-5"), **asked) == ()


def test_a_value_that_changes_nothing_is_not_sent_to_who_refuses_others() -> None:
    asked = {"parallel_tool_calls": True, "stop": [], "logprobs": False, "top_k": None, "metadata": {}}

    assert not asked.keys() & sent(gpt("o3"), tools=[TOOL], **asked).keys()
    assert dropped(gpt("o3"), tools=[TOOL], **asked) == ()


@pytest.mark.parametrize(("upstream_model", "refused"), [("gpt-5-mini", ("stop",)), ("o4-mini", ("stop",)), ("o1", ())])
def test_stop_is_left_out_where_it_is_refused(upstream_model: str, refused: tuple[str, ...]) -> None:
    assert dropped(gpt(upstream_model), stop=["x"]) == refused


@pytest.mark.parametrize(
    ("upstream_model", "asked", "given"),
    [
        ("gpt-5", "none", "minimal"),
        ("gpt-5", "xhigh", "high"),
        ("gpt-5.1", "minimal", "low"),
        ("gpt-5.2", "xhigh", "xhigh"),
        ("o3", "none", "low"),
        ("o3", "low", "low"),
        ("gpt-5.2-chat-latest", "none", "medium"),
        ("gpt-4o", "low", None),
        ("gpt-6-sol", "low", "low"),
    ],
)
def test_the_nearest_effort_that_a_model_has_is_asked(upstream_model: str, asked: str, given: str | None) -> None:
    assert sent(gpt(upstream_model), reasoning_effort=asked).get("reasoning_effort") == given


def test_a_model_that_can_not_reason_with_tools_is_told_not_to() -> None:
    asked = {"reasoning_effort": "high", "tools": [TOOL], "temperature": 0.2}

    assert sent(gpt("gpt-5.6-luna"), **asked)["reasoning_effort"] == "none"
    assert dropped(gpt("gpt-5.6-luna"), **asked) == ("reasoning_effort",)


def test_a_model_that_the_catalog_does_not_know_is_asked_for_everything_that_openai_has() -> None:
    asked = {"reasoning_effort": "low", "temperature": 0.2, "verbosity": "low", "web_search_options": {}, "top_k": 5}

    assert dropped(able(), **asked) == ("top_k",)


def test_metadata_is_sent_only_with_store_as_openai_refuses_it_otherwise() -> None:
    assert dropped(gpt("gpt-4o"), metadata={"a": "b"}) == ("metadata",)
    assert dropped(gpt("gpt-4o"), metadata={"a": "b"}, store=True) == ()


def test_a_refused_parameter_is_a_400_where_dropping_is_switched_off() -> None:
    request = replace(chat_request(temperature=0.1), drop_params=False)

    with pytest.raises(BadRequest) as refused:
        encode_request(request, gpt("gpt-5"))
    assert refused.value.param == "temperature"


# --- streams and tools -----------------------------------------------------------------------------


def test_a_stream_always_reports_its_usage() -> None:
    asked = {"stream": True, "stream_options": {"include_obfuscation": False}}

    assert sent(gpt("gpt-4o"), **asked)["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_stream_options_are_left_out_without_a_stream() -> None:
    request = ChatRequest(alias="a", body={"messages": [], "stream_options": {}}, is_stream=False, wants_usage=False)

    assert "stream_options" not in encode_request(request, gpt("gpt-4o"))


def test_what_is_about_tools_is_left_out_without_any() -> None:
    body = sent(gpt("gpt-4o"), tools=[], tool_choice="auto", parallel_tool_calls=True)

    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()


def test_a_custom_tool_is_sent() -> None:
    custom = {"type": "custom", "custom": {"name": "math", "format": {"type": "text"}}}

    assert sent(gpt("gpt-5"), tools=[custom])["tools"] == [custom]


def test_a_tool_that_another_provider_runs_is_left_to_it() -> None:
    with pytest.raises(UpstreamError) as refused:
        sent(gpt("gpt-4o"), tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert refused.value.status == "unsupported_content"


def test_functions_are_sent_in_the_form_they_came_in() -> None:
    legacy = {"model": "a", "messages": [USER], "functions": [{"name": "f"}], "function_call": "auto"}
    request = replace(chat_request(tools=[TOOL]), legacy_body=legacy)

    body = encode_request(request, gpt("gpt-4o"))
    assert (body["functions"], body["function_call"], body.get("tools")) == ([{"name": "f"}], "auto", None)


# --- messages --------------------------------------------------------------------------------------


def messages(to: Deployment, *given: dict[str, Any]) -> list[dict[str, Any]]:
    return sent(to, messages=list(given))["messages"]


def test_what_other_providers_said_beside_an_answer_is_left_out() -> None:
    echoed = {
        "role": "assistant",
        "content": "Hello",
        "refusal": None,
        "annotations": [],
        "reasoning_content": "hm",
        "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}],
        "provider_specific_fields": {"citations": []},
        "images": [],
        "audio": {"id": "audio_1"},
    }

    kept = {"role": "assistant", "content": "Hello", "refusal": None, "annotations": [], "audio": {"id": "audio_1"}}
    assert messages(gpt("gpt-4o"), USER, echoed) == [USER, kept]


def test_a_compatible_server_is_echoed_only_what_every_server_knows() -> None:
    echoed = {"role": "assistant", "content": "Hello", "refusal": None, "annotations": [], "audio": None}

    assert messages(SERVER, echoed) == [{"role": "assistant", "content": "Hello"}]


@pytest.mark.parametrize(
    ("echoed", "kept"),
    [
        ({"content": None}, {"content": ""}),
        ({}, {"content": ""}),
        ({"content": None, "audio": {"id": "audio_1", "mime_type": "audio/pcm", "data": "AAA="}}, {"content": ""}),
        ({"content": None, "audio": {"data": "AAA="}}, {"content": ""}),
        ({"audio": {"id": "audio_1", "data": "AAA=", "transcript": "Hi"}}, {"audio": {"id": "audio_1"}}),
        ({"content": None, "refusal": "No."}, {"content": None, "refusal": "No."}),
        ({"content": None, "tool_calls": [call()]}, {"content": None, "tool_calls": [call()]}),
    ],
)
def test_an_echoed_message_has_content_or_what_stands_for_it(echoed: dict[str, Any], kept: dict[str, Any]) -> None:
    assert messages(gpt("gpt-4o"), {"role": "assistant", **echoed}) == [{"role": "assistant", **kept}]


def test_a_compatible_server_is_told_a_refusal_as_text() -> None:
    echoed = {"role": "assistant", "content": None, "refusal": "No."}

    assert messages(SERVER, echoed) == [{"role": "assistant", "content": "No."}]


def result(call_id: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": list(parts)}


@pytest.mark.parametrize("to", [gpt("gpt-4o"), SERVER])
def test_images_in_results_come_in_a_user_message_after_all_results(to: Deployment) -> None:
    text, image = {"type": "text", "text": "Done"}, {"type": "image_url", "image_url": {"url": "https://a.example/a"}}
    called = {"role": "assistant", "tool_calls": [call("a"), call("b"), call("c")]}
    label = {"type": "text", "text": "Content of the result of a:"}

    given = messages(to, called, result("a", text, image), result("b", image), result("c", text), USER)
    assert given[1]["content"] == [text]
    assert isinstance(given[2]["content"], str)
    assert given[3] == result("c", text)
    assert given[4] == {
        "role": "user",
        "content": [label, image, {"type": "text", "text": "Content of the result of b:"}, image],
    }
    assert given[5:] == [USER]


def test_an_image_in_the_last_result_ends_the_conversation() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://a.example/a"}}

    assert [message["role"] for message in messages(gpt("gpt-4o"), result("a", image))] == ["tool", "user"]


def test_foreign_fields_of_calls_are_left_out() -> None:
    echoed = {"role": "assistant", "tool_calls": [call(provider_specific_fields={"thought_signature": "s"})]}

    assert messages(gpt("gpt-4o"), echoed)[0]["tool_calls"] == [call()]


def test_an_anthropic_cache_mark_is_left_out_of_parts_and_tools() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    text = {"type": "text", "text": "Hello"}
    body = sent(
        gpt("gpt-4o"),
        messages=[{"role": "user", "content": [{**text, **mark}]}],
        tools=[{**TOOL, **mark}, {"type": "function", "function": {"name": "g", **mark}}],
    )

    assert body["messages"][0]["content"] == [text]
    assert body["tools"] == [TOOL, {"type": "function", "function": {"name": "g"}}]


def test_a_part_that_openai_invents_later_passes_through() -> None:
    part = {"type": "text", "text": "Hello", "prompt_cache_breakpoint": {"mode": "auto"}}

    assert messages(gpt("gpt-4o"), {"role": "user", "content": [part]})[0]["content"] == [part]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
        {"type": "image_url", "image_url": {"url": "gs://bucket/a.png"}},
        {"type": "file", "file": {"file_id": "https://example.com/a.pdf"}},
    ],
)
def test_a_part_that_another_provider_reads_is_left_to_it(part: dict[str, Any]) -> None:
    asked = {"role": "user", "content": [part]}

    with pytest.raises(UpstreamError) as refused:
        messages(gpt("gpt-4o"), asked)
    assert refused.value.status == "unsupported_content"
    assert messages(SERVER, asked) == [asked]


def test_a_foreign_call_id_is_shortened_alike_for_the_call_and_its_result() -> None:
    called, result = messages(
        gpt("gpt-4o"),
        {"role": "assistant", "tool_calls": [call(LONG_ID)]},
        {"role": "tool", "tool_call_id": LONG_ID, "content": "4"},
    )

    assert called["tool_calls"][0]["id"] == result["tool_call_id"]
    assert len(result["tool_call_id"]) <= 40


def test_different_ids_stay_different_and_short_ones_stay_as_they_are() -> None:
    assert short_call_id(LONG_ID) != short_call_id(f"{LONG_ID}B")
    assert short_call_id("call_1") == "call_1"


def test_the_clients_own_messages_are_not_changed() -> None:
    echoed = {"role": "assistant", "content": "Hello", "reasoning_content": "hm"}

    messages(gpt("gpt-4o"), echoed)
    assert echoed["reasoning_content"] == "hm"


@pytest.mark.parametrize(
    ("to", "role"),
    [
        (gpt("gpt-4o"), "developer"),
        (SERVER, "system"),
        (able(developer_role=False), "system"),
        (able(system_role=False), "user"),
    ],
)
def test_instructions_come_under_a_role_that_the_model_knows(to: Deployment, role: str) -> None:
    assert messages(to, {"role": "developer", "content": "Be brief"}) == [{"role": role, "content": "Be brief"}]
