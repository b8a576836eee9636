"""A conversation in OpenAI's words reaches Claude as turns of content blocks."""

import base64
from typing import Any

import pytest

from functions.gateway.errors import BadRequest, UpstreamError
from functions.providers.anthropic.encode import encode_request
from functions.providers.anthropic.messages import tool_id
from tests.unit.providers.claude import (
    BUDGET,
    CALL,
    NEWEST,
    RESULT,
    THOUGHT,
    TOOL,
    USER,
    deployment,
    request,
    sent,
    turns,
)

EPHEMERAL = {"type": "ephemeral"}
PNG = "data:image/png;base64,iVBORw0KGgo="
SYSTEM = {"role": "system", "content": "Be brief."}
REPLY = {"role": "assistant", "content": "Hello."}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*parts]}


def block_of(part: dict[str, Any]) -> dict[str, Any]:
    return turns(user(part))[0]["content"][0]


def test_an_inline_image_is_a_base64_source() -> None:
    block = block_of({"type": "image_url", "image_url": {"url": PNG, "detail": "high"}})

    assert block == {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
    }


def test_an_image_by_url_stays_one() -> None:
    block = block_of({"type": "image_url", "image_url": {"url": "https://example.com/cat.jpg"}})

    assert block == {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.jpg"}}


def test_a_pdf_is_a_document_by_its_name() -> None:
    block = block_of({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"}})

    assert block == {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
        "title": "a.pdf",
    }


def test_a_text_file_is_a_document_in_plain_text() -> None:
    data = base64.b64encode("naïve".encode()).decode()

    block = block_of({"type": "file", "file": {"file_data": f"data:text/markdown;base64,{data}"}})

    assert block == {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "naïve"}}


def test_an_uploaded_file_is_named() -> None:
    assert block_of({"type": "file", "file": {"file_id": "file_1"}})["source"] == {"type": "file", "file_id": "file_1"}


def test_a_document_keeps_its_citations_and_its_cache_mark() -> None:
    part = {"type": "file", "file": {"file_id": "file_1"}, "citations": {"enabled": True}, "cache_control": EPHEMERAL}

    block = block_of(part)

    assert (block["citations"], block["cache_control"]) == ({"enabled": True}, EPHEMERAL)


def test_a_part_of_anthropics_own_passes() -> None:
    part = {"type": "container_upload", "file_id": "file_1"}

    assert block_of(part) == part


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "data:image/heic;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "gs://bucket/cat.png"}},
        {"type": "file", "file": {"file_data": "data:application/zip;base64,UEsD"}},
    ],
)
def test_what_claude_can_not_read_falls_back(part: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError) as caught:
        sent(user(part))

    assert caught.value.status == "unsupported_content"


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png,raw"}}, "messages[0].content[0].image_url.url"),
        ({"type": "file", "file": {}}, "messages[0].content[0].file"),
        (
            {"type": "file", "file": {"file_data": "data:text/plain;base64,____"}},
            "messages[0].content[0].file.file_data",
        ),
    ],
)
def test_a_part_that_is_none_is_named_by_its_path(part: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        sent(user(part))

    assert caught.value.param == param


def test_a_single_plain_instruction_is_a_string() -> None:
    assert sent(SYSTEM, USER)["system"] == "Be brief."


def test_instructions_are_blocks_where_one_is_to_be_cached() -> None:
    marked = {"role": "developer", "content": [{"type": "text", "text": "Rules.", "cache_control": EPHEMERAL}]}

    assert sent(SYSTEM, marked, USER)["system"] == [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "Rules.", "cache_control": EPHEMERAL},
    ]


def test_a_later_instruction_stays_in_its_place_where_the_model_takes_it() -> None:
    roles = [turn["role"] for turn in turns(USER, REPLY, USER, SYSTEM, REPLY, USER, to="claude-opus-4-8")]

    assert roles == ["user", "assistant", "user", "system", "assistant", "user"]


def test_a_later_instruction_joins_the_others_where_the_model_takes_none() -> None:
    body = sent(USER, REPLY, USER, SYSTEM, to=BUDGET)

    assert body["system"] == "Be brief."
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]


def test_a_later_instruction_stands_after_the_users_whole_turn() -> None:
    roles = [turn["role"] for turn in turns(USER, REPLY, SYSTEM, USER, to="claude-opus-4-8")]

    assert roles == ["user", "assistant", "user", "system"]


def test_an_instruction_after_an_answer_has_no_place_but_the_top() -> None:
    able = deployment("claude-opus-4-8", assistant_prefill=True)

    body = encode_request(request(USER, REPLY, SYSTEM), able)

    assert body["system"] == "Be brief."
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant"]


def test_instructions_alone_are_what_the_user_says() -> None:
    body = sent(SYSTEM)

    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Be brief."}]}]
    assert "system" not in body


def test_neighbours_of_one_role_are_one_turn() -> None:
    assert [len(turn["content"]) for turn in turns(USER, USER, REPLY, REPLY, USER)] == [2, 2, 1]


def test_an_answer_that_comes_first_follows_a_user_who_says_nothing() -> None:
    assert [turn["role"] for turn in turns(REPLY, USER)] == ["user", "assistant", "user"]


def test_messages_without_content_are_left_out() -> None:
    empty = {"role": "assistant", "content": ""}

    assert [turn["role"] for turn in turns(USER, empty, USER)] == ["user"]


def test_a_conversation_without_any_content_is_refused() -> None:
    with pytest.raises(BadRequest, match="none of them has content"):
        sent({"role": "user", "content": ""})


def test_names_are_said_where_they_tell_users_apart() -> None:
    content = turns({**USER, "name": "ann"}, {**USER, "name": "bob"})[0]["content"]

    assert [block["text"] for block in content[::2]] == ["ann:", "bob:"]


def test_a_single_name_is_not_said() -> None:
    assert len(turns({**USER, "name": "ann"})[0]["content"]) == 1


def test_results_stand_together_after_their_calls() -> None:
    calls = {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "toolu_2"}]}

    turn = turns(USER, calls, RESULT, {**RESULT, "tool_call_id": "toolu_2"}, USER, tools=[TOOL])[2]

    assert [block["type"] for block in turn["content"]] == ["tool_result", "tool_result", "text"]


def test_a_result_may_have_an_image_and_be_an_error() -> None:
    calls = {"role": "assistant", "tool_calls": [CALL]}
    image = {"type": "image_url", "image_url": {"url": PNG}}
    failed = {**RESULT, "content": [{"type": "text", "text": "no", "cache_control": EPHEMERAL}, image]}

    result = turns(USER, calls, {**failed, "is_error": True})[2]["content"][0]

    assert [block["type"] for block in result["content"]] == ["text", "image"]
    assert (result["is_error"], result["cache_control"]) == (True, EPHEMERAL)


def test_an_empty_result_is_a_result() -> None:
    result = turns(USER, {"role": "assistant", "tool_calls": [CALL]}, {**RESULT, "content": ""})[2]["content"]

    assert result == [{"type": "tool_result", "tool_use_id": "toolu_1"}]


@pytest.mark.parametrize("arguments", ["{", "[1]", "null"])
def test_arguments_that_are_no_object_are_named_by_their_path(arguments: str) -> None:
    call = {**CALL, "function": {"name": "weather", "arguments": arguments}}

    with pytest.raises(BadRequest) as caught:
        sent(USER, {"role": "assistant", "tool_calls": [CALL, call]}, RESULT)

    assert caught.value.param == "messages[1].tool_calls[1].function.arguments"


@pytest.mark.parametrize(
    "call_id", ["call_1__thought__" + "A" * 300, "call_1__thought__ab=", "fc:1/2", "x" * 65, "call_é"]
)
def test_an_id_from_elsewhere_becomes_one_that_claude_takes(call_id: str) -> None:
    call, result = {**CALL, "id": call_id}, {**RESULT, "tool_call_id": call_id}

    _, use, answer = turns(USER, {"role": "assistant", "tool_calls": [call]}, result)

    assert use["content"][0]["id"] == answer["content"][0]["tool_use_id"] == tool_id(call_id)
    assert len(tool_id(call_id)) <= 64
    assert tool_id(call_id).replace("_", "").isalnum()


def test_two_long_ids_stay_apart() -> None:
    assert tool_id("x" * 65) != tool_id("x" * 66)


def test_a_prefill_ends_without_white_space() -> None:
    assert turns(USER, {"role": "assistant", "content": "The sky is \n"}, to=BUDGET)[-1]["content"][0]["text"] == (
        "The sky is"
    )


def test_a_model_that_refuses_prefill_is_passed_over() -> None:
    with pytest.raises(UpstreamError) as caught:
        sent(USER, REPLY, to=NEWEST)

    assert caught.value.status == "unsupported_content"


def test_a_turn_that_a_server_tool_paused_goes_on() -> None:
    blocks = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    ]
    paused = {"role": "assistant", "content": "", "provider_specific_fields": {"content_blocks": blocks}}

    assert turns(USER, paused, to=NEWEST)[-1]["content"] == blocks


def test_kept_blocks_go_back_as_they_came() -> None:
    kept = [{"type": "text", "text": "Hello."}, {"type": "text", "text": " You."}]
    echoed = {"role": "assistant", "content": "Hello. You.", "provider_specific_fields": {"content_blocks": kept}}

    assert turns(USER, echoed, USER)[1]["content"] == kept


def test_kept_blocks_of_an_edited_message_are_left_out() -> None:
    kept = [{"type": "text", "text": "Hello.", "citations": []}]
    edited = {"role": "assistant", "content": "Bye.", "provider_specific_fields": {"content_blocks": kept}}

    assert turns(USER, edited, USER)[1]["content"] == [{"type": "text", "text": "Bye."}]


def test_an_echoed_answer_gives_its_thoughts_back() -> None:
    echoed = {"role": "assistant", "content": None, "tool_calls": [CALL], "thinking_blocks": [THOUGHT]}

    content = turns(USER, echoed, RESULT, reasoning_effort="low")[1]["content"]

    assert [block["type"] for block in content] == ["thinking", "tool_use"]
    assert content[0] == THOUGHT


def test_another_providers_thoughts_are_left_out() -> None:
    unsigned = {"type": "thinking", "thinking": "Hm."}
    foreign = {**CALL, "id": "call_1__thought__AAAA"}
    first = {"role": "assistant", "content": "Hi.", "thinking_blocks": [unsigned], "reasoning_content": "Hm."}
    second = {"role": "assistant", "tool_calls": [foreign], "thinking_blocks": [THOUGHT]}

    sent_turns = turns(USER, first, USER, second, {**RESULT, "tool_call_id": foreign["id"]}, reasoning_effort="low")

    assert "thinking" not in {block["type"] for turn in sent_turns for block in turn["content"]}


def test_results_come_first_where_users_and_tools_are_named() -> None:
    ann, called = {**USER, "name": "ann"}, {"role": "assistant", "tool_calls": [CALL]}

    turn = turns(ann, USER, called, {**RESULT, "name": "weather"}, tools=[TOOL])[2]

    assert [block["type"] for block in turn["content"]] == ["tool_result"]


@pytest.mark.parametrize("content", ["  ", [{"type": "text", "text": "\n"}, {"type": "text", "text": ""}]])
@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_message_of_white_space_is_left_out(role: str, content: Any) -> None:
    assert sent({"role": role, "content": content}, USER) == sent(USER)


def test_white_space_beside_a_call_stays() -> None:
    called = {"role": "assistant", "content": " ", "tool_calls": [CALL]}

    assert [block["type"] for block in turns(USER, called, RESULT)[1]["content"]] == ["text", "tool_use"]


def test_white_space_that_only_thoughts_stood_beside_is_not_sent_alone() -> None:
    echoed = {"role": "assistant", "content": " ", "thinking_blocks": [THOUGHT]}

    assert turns(USER, echoed, USER)[1]["content"][0] == THOUGHT


def test_a_prefill_of_white_space_is_none() -> None:
    assert turns(USER, {"role": "assistant", "content": "  "}, to=BUDGET) == turns(USER, to=BUDGET)


def test_a_prefill_ends_in_words() -> None:
    parts = [{"type": "text", "text": "So "}, {"type": "text", "text": " \n"}]

    assert turns(USER, {"role": "assistant", "content": parts}, to=BUDGET)[-1]["content"] == [
        {"type": "text", "text": "So"}
    ]


def test_a_refusal_without_content_is_said() -> None:
    refused = {"role": "assistant", "content": None, "refusal": "No."}

    assert turns(USER, refused, USER)[1]["content"] == [{"type": "text", "text": "No."}]


def test_the_mark_of_an_empty_text_is_the_block_befores() -> None:
    parts = [{"type": "text", "text": "Long."}, {"type": "text", "text": "", "cache_control": EPHEMERAL}]

    assert turns(user(*parts))[0]["content"] == [{"type": "text", "text": "Long.", "cache_control": EPHEMERAL}]


def test_a_call_keeps_integers_of_any_size() -> None:
    call = {**CALL, "function": {"name": "weather", "arguments": '{"n":18446744073709551616}'}}

    content = turns(USER, {"role": "assistant", "tool_calls": [call]}, RESULT)[1]["content"]

    assert content[0]["input"] == {"n": 2**64}


def test_a_request_is_not_changed_by_being_sent() -> None:
    asked = request(SYSTEM, USER, {**REPLY, "cache_control": EPHEMERAL}, USER)
    before = repr(asked)

    turns(*asked.body["messages"])

    assert repr(asked) == before
