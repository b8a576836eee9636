"""Claude's answers come out in OpenAI's words, whole and streamed; what OpenAI has no word for is kept beside them."""

from typing import Any

import pytest

from functions.gateway.errors import UpstreamError
from functions.gateway.verdicts import Verdict, judge
from functions.gateway.wire import render_answer
from functions.providers.anthropic.decode import decode_answer
from functions.providers.anthropic.stream import AnthropicStream
from functions.providers.anthropic.usage import usage_of
from functions.providers.upstream import json_object, malformed_answers
from tests.unit.providers.claude import THOUGHT, deltas, events, message, said

TEXT = {"type": "text", "text": "Sunny."}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}
SEARCHED = {
    "type": "web_search_result_location",
    "url": "https://example.com",
    "title": "Example",
    "cited_text": "…",
    "encrypted_index": "Ep8",
}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}


def text_delta(text: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": text}


def json_delta(text: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": text}


def test_text_is_the_content() -> None:
    assert said(TEXT) == {"role": "assistant", "content": "Sunny."}


def test_calls_have_no_content_beside_them() -> None:
    answer = said(CALL, {**CALL, "id": "toolu_2", "input": {}}, stop_reason="tool_use")

    assert answer["content"] is None
    assert answer["tool_calls"] == [
        {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}},
        {"id": "toolu_2", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
    ]
    assert "provider_specific_fields" not in answer


def test_thoughts_are_reasoning_and_blocks_to_give_back() -> None:
    redacted = {"type": "redacted_thinking", "data": "EvgF"}

    answer = said(THOUGHT, redacted, TEXT)

    assert (answer["reasoning_content"], answer["thinking_blocks"]) == ("Look it up.", [THOUGHT, redacted])
    assert "provider_specific_fields" not in answer


def test_a_cited_page_is_an_annotation_of_its_text() -> None:
    answer = said({"type": "text", "text": "So: "}, {**TEXT, "citations": [SEARCHED]})

    cited = {"url": "https://example.com", "title": "Example", "start_index": 4, "end_index": 10}
    assert answer["annotations"] == [{"type": "url_citation", "url_citation": cited}]


def test_a_cited_document_is_kept_with_its_block() -> None:
    cited = {**TEXT, "citations": [{"type": "page_location", "document_index": 0, "cited_text": "…"}]}

    answer = said(cited)

    assert "annotations" not in answer
    assert answer["provider_specific_fields"] == {"content_blocks": [cited]}


@pytest.mark.parametrize(
    "blocks",
    [
        (SEARCH, TEXT),
        (TEXT, THOUGHT),
        (TEXT, TEXT),
        (CALL, TEXT),
        ({**CALL, "caller": {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}},),
        ({"type": "hologram", "data": "x"}, TEXT),
        ({**TEXT, "brand_new": 1},),
        ({**CALL, "brand_new": 1},),
        ({**THOUGHT, "brand_new": 1}, TEXT),
    ],
)
def test_what_openai_can_not_say_is_kept_whole(blocks: tuple[dict[str, Any], ...]) -> None:
    answer = said(*blocks)

    assert answer["provider_specific_fields"]["content_blocks"] == [*blocks]
    assert answer["content"] == ("".join(block["text"] for block in blocks if block["type"] == "text") or None)


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason", "kept"),
    [
        ("end_turn", "stop", None),
        ("max_tokens", "length", None),
        ("stop_sequence", "stop", "stop_sequence"),
        ("pause_turn", "stop", "pause_turn"),
        ("refusal", "content_filter", "refusal"),
        ("model_context_window_exceeded", "length", "model_context_window_exceeded"),
        ("moonrise", "stop", "moonrise"),
    ],
)
def test_every_reason_to_stop_has_openais_word(stop_reason: str, finish_reason: str, kept: str | None) -> None:
    choice = decode_answer(message(TEXT, stop_reason=stop_reason)).choices[0]

    assert choice["finish_reason"] == finish_reason
    assert choice["message"].get("provider_specific_fields", {}).get("stop_reason") == kept


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}

    answer = said(stop_reason="refusal", stop_details=details)

    assert answer["refusal"] == "No."
    assert answer["provider_specific_fields"]["stop_details"] == details


def test_an_answer_of_nothing_has_an_empty_text() -> None:
    assert said() == {"role": "assistant", "content": ""}


def test_a_window_that_was_full_before_a_word_is_no_answer() -> None:
    for blocks in ((), ({"type": "text", "text": ""},)):
        with pytest.raises(UpstreamError) as full:
            said(*blocks, stop_reason="model_context_window_exceeded")
        assert judge(full.value) is Verdict.CONTEXT_WINDOW


def test_the_answer_that_was_a_tools_input_is_the_text() -> None:
    answer = decode_answer(message({**CALL, "name": "json_tool_call"}, stop_reason="tool_use"))

    assert answer.choices[0] == {
        "index": 0,
        "message": {"role": "assistant", "content": '{"city":"Paris"}'},
        "finish_reason": "stop",
    }


@pytest.mark.parametrize(("tier", "given"), [("standard", "default"), ("priority", "priority"), ("batch", None)])
def test_the_tier_has_openais_word(tier: str, given: str | None) -> None:
    assert decode_answer(message(TEXT, usage={"service_tier": tier})).extra.get("service_tier") == given


def test_the_input_includes_what_was_cached() -> None:
    usage = usage_of(
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 30,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
            "output_tokens_details": {"thinking_tokens": 3},
            "server_tool_use": {"web_search_requests": 2},
        }
    )

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (140, 5, 100)
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == (20, 10)
    assert (usage.reasoning_tokens, usage.web_searches) == (3, 2)


def test_what_a_stream_writes_in_its_course_lives_as_long_as_what_it_wrote_at_its_start() -> None:
    at_start = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 10}

    usage = usage_of({"cache_creation_input_tokens": 25, "cache_creation": at_start})

    assert usage is not None
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == (0, 25)


def test_a_compaction_is_billed_beside_the_totals() -> None:
    compaction = {"type": "compaction", "input_tokens": 1000, "output_tokens": 50, "cache_read_input_tokens": 200}
    last = {"type": "message", "input_tokens": 10, "output_tokens": 5}

    usage = usage_of({"input_tokens": 10, "output_tokens": 5, "iterations": [compaction, last]})

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (1210, 55, 200)


@pytest.mark.parametrize(
    "body",
    [
        {"type": "list"},
        {"type": "message"},
        message(TEXT, usage={}) | {"content": None},
        message({"type": "tool_use", "id": "toolu_1"}),
        message("text"),
    ],
)
def test_a_body_that_is_no_message_is_no_answer(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError) as caught, malformed_answers():
        decode_answer(body)

    assert caught.value.status == "invalid_response"


@pytest.mark.parametrize(
    ("block", "said_of_it"),
    [
        ({"type": "text", "text": None}, {"content": ""}),
        ({"type": "thinking", "signature": "EqcC"}, {"content": ""}),
        ({**CALL, "input": None}, {"content": None}),
    ],
)
def test_null_is_what_nothing_is(block: dict[str, Any], said_of_it: dict[str, Any]) -> None:
    whole, streamed = said(block), deltas(events([dict(block)]))

    assert whole["content"] == said_of_it["content"]
    calls = [call["function"]["arguments"] for call in whole.get("tool_calls", ())]
    pieces = [call["function"]["arguments"] for delta in streamed for call in delta.get("tool_calls", ())]
    assert "".join(pieces) == "".join(calls) == ("{}" if calls else "")


def test_usage_that_is_not_reported_is_none() -> None:
    start, *rest = events([TEXT])
    silent = {**start, "message": {**start["message"], "usage": None}}

    assert decode_answer(message(TEXT) | {"usage": None}).usage is None
    assert AnthropicStream().decode(silent)[0].usage is None
    assert deltas([silent, *rest]) == deltas(events([TEXT]))


def test_integers_of_any_size_are_the_same_whole_and_streamed() -> None:
    written = '{"n":18446744073709551616}'
    raw = b'{"type":"message","content":[%b,%b],"usage":{}}'
    call = b'{"type":"tool_use","id":"toolu_1","name":"f","input":%b}' % written.encode()
    whole = decode_answer(json_object(raw % (call, b'{"type":"text","text":"x"}')))

    streamed = deltas(events([{**CALL, "input": {}}, json_delta(written)], [TEXT]))

    arguments = whole.choices[0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert arguments == written
    assert streamed[-1]["provider_specific_fields"]["content_blocks"][0]["input"] == {"n": 2**64}
    assert written.encode() in render_answer(whole, model="claude", fallback_id="x", created=1)


def test_an_error_may_hold_integers_of_any_size() -> None:
    with pytest.raises(UpstreamError) as caught:
        json_object(b'{"error":{"type":"overloaded_error","limit":18446744073709551616}}')

    assert caught.value.status == 529


def test_a_stream_passes_on_text_as_it_comes() -> None:
    stream = events([{"type": "text", "text": ""}, text_delta("Sun"), text_delta("ny.")])

    assert deltas(stream) == [{"role": "assistant", "content": None}, {"content": "Sun"}, {"content": "ny."}]


def test_a_stream_numbers_its_calls() -> None:
    other = {**CALL, "id": "toolu_2", "input": {}}
    stream = events(
        [{"type": "text", "text": ""}, text_delta("Ok")],
        [{**CALL, "input": {}}, json_delta(""), json_delta('{"ci'), json_delta('ty":"Paris"}')],
        [other],
        stop_reason="tool_use",
    )

    calls = [call for delta in deltas(stream) for call in delta.get("tool_calls", ())]
    assert [(call["index"], call["function"]["arguments"]) for call in calls] == [
        (0, ""),
        (0, '{"ci'),
        (0, 'ty":"Paris"}'),
        (1, ""),
        (1, "{}"),
    ]
    assert [call["id"] for call in calls if "id" in call] == ["toolu_1", "toolu_2"]


def test_a_stream_gives_its_thoughts_back_before_its_end() -> None:
    start = {"type": "thinking", "thinking": "", "signature": ""}
    thoughts = [{"type": "thinking_delta", "thinking": "Look "}, {"type": "thinking_delta", "thinking": "it up."}]
    stream = events([start, *thoughts, {"type": "signature_delta", "signature": "EqcC"}], [TEXT])

    assert deltas(stream)[1:] == [
        {"reasoning_content": "Look "},
        {"reasoning_content": "it up."},
        {"content": "Sunny."},
        {"thinking_blocks": [THOUGHT]},
    ]


def test_a_stream_gives_blocks_of_the_providers_own_whole() -> None:
    stream = events(
        [{**SEARCH, "input": {}}, json_delta('{"query":'), json_delta('"x"}')],
        [
            {"type": "text", "text": "", "citations": []},
            text_delta("Sunny."),
            {"type": "citations_delta", "citation": SEARCHED},
        ],
    )

    last = deltas(stream)[-1]

    assert last["provider_specific_fields"]["content_blocks"] == [SEARCH, {**TEXT, "citations": [SEARCHED]}]
    assert len(last["annotations"]) == 1


def test_a_streams_json_answer_is_its_text() -> None:
    start = {"type": "tool_use", "id": "toolu_1", "name": "json_tool_call", "input": {}}
    decoder = AnthropicStream()

    chunks = [
        chunk
        for event in events([start, json_delta('{"a":'), json_delta("1}")], stop_reason="tool_use")
        for chunk in decoder.decode(event)
    ]

    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == '{"a":1}'
    assert choices[-1]["finish_reason"] == "stop"
    assert not any("tool_calls" in choice["delta"] for choice in choices)


def test_a_stream_that_says_nothing_has_an_empty_text() -> None:
    assert deltas(events()) == [{"role": "assistant", "content": None}, {"content": ""}]


def test_a_message_may_come_whole_in_its_first_event() -> None:
    start = {"type": "message_start", "message": message(CALL, stop_reason="tool_use")}
    decoder = AnthropicStream()

    chunks = [chunk for event in [start, {"type": "message_stop"}] for chunk in decoder.decode(event)]

    (call, arguments) = [call for chunk in chunks for call in chunk.choices[0]["delta"].get("tool_calls", ())]
    assert (call["id"], arguments["function"]["arguments"]) == ("toolu_1", '{"city":"Paris"}')
    assert chunks[-1].choices[0]["finish_reason"] == "tool_calls"


def test_the_usage_is_what_was_said_last() -> None:
    decoder = AnthropicStream()

    usages = [chunk.usage for event in events([TEXT]) for chunk in decoder.decode(event) if chunk.usage]

    assert [(usage.input_tokens, usage.output_tokens) for usage in usages] == [(10, 5), (10, 7)]


def test_usage_that_is_said_twice_at_the_end_is_what_was_said_last() -> None:
    *begun, delta, stop = events([TEXT])
    decoder = AnthropicStream()

    chunks = [
        chunk
        for event in [*begun, delta, {**delta, "usage": {"output_tokens": 50}}, stop]
        for chunk in decoder.decode(event)
    ]

    assert [chunk.usage.output_tokens for chunk in chunks if chunk.usage] == [5, 7, 50]
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk.choices][-1] == "stop"


@pytest.mark.parametrize("position", [1, 2, 3, 4])
def test_a_stream_that_lacks_its_beginning_is_broken(position: int) -> None:
    with pytest.raises(UpstreamError) as caught:
        AnthropicStream().decode(events([TEXT])[position])

    assert caught.value.status == "broken_stream"


def test_unknown_events_and_deltas_change_nothing() -> None:
    odd = {"type": "hologram_delta", "hologram": "x"}
    stream = events([{"type": "text", "text": ""}, odd, text_delta("Sunny.")])

    assert deltas([{"type": "ping"}, {"type": "weather"}, *stream])[:2] == [
        {"role": "assistant", "content": None},
        {"content": "Sunny."},
    ]


def test_a_block_of_an_unknown_kind_is_kept_with_its_deltas() -> None:
    odd = {"type": "hologram_delta", "hologram": "x"}

    last = deltas(events([{"type": "hologram", "id": "h1"}, odd, odd], [TEXT]))[-1]

    assert last["provider_specific_fields"]["content_blocks"] == [
        {"type": "hologram", "id": "h1", "hologram": "xx"},
        TEXT,
    ]


def test_another_message_in_the_same_stream_breaks_it() -> None:
    start, *rest = events([TEXT])
    other = {"type": "message_start", "message": message(stop_reason=None) | {"id": "msg_2"}}

    with pytest.raises(UpstreamError) as caught:
        deltas([start, rest[0], other])

    assert caught.value.status == "broken_stream"


def test_a_first_event_that_is_repeated_changes_nothing() -> None:
    start, *rest = events([TEXT])

    assert deltas([start, start, *rest]) == deltas(events([TEXT]))


@pytest.mark.parametrize(
    "event",
    [
        {"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_start", "index": 0},
        {"type": "message_delta"},
    ],
)
def test_an_event_that_fits_nothing_is_no_answer(event: dict[str, Any]) -> None:
    decoder = AnthropicStream()
    decoder.decode(events()[0])

    with pytest.raises(UpstreamError) as caught, malformed_answers():
        decoder.decode(event)

    assert caught.value.status == "invalid_response"
