"""What Google's answers mean, whole and streamed."""

import base64
import json
from typing import Any

import pytest

from events.spend import Usage
from functions.gateway.errors import UpstreamError
from functions.providers.google.decode import decode_answer
from functions.providers.google.stream import GoogleStream
from tests.unit.providers.google_bodies import deltas_of, message_of, response

CALL = {"functionCall": {"name": "look", "args": {"at": "it"}}}
SEARCHED = {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "t1"}, "thoughtSignature": "sig"}


def choice_of(body: dict[str, Any]) -> dict[str, Any]:
    [choice] = decode_answer(body, lambda: "call_new").choices
    return choice


def usage_of(**counts: Any) -> Usage:
    usage = decode_answer(response({"text": "Hi"}, usage=counts), lambda: "").usage
    assert usage
    return usage


# --- parts -----------------------------------------------------------------------------------------


def test_texts_are_one_content() -> None:
    assert message_of({"text": "Hel"}, {"text": "lo"}) == {"role": "assistant", "content": "Hello"}


def test_thoughts_are_reasoning_apart_from_the_content() -> None:
    message = message_of({"text": "Hm", "thought": True}, {"text": "m", "thought": True}, {"text": "Yes"})

    assert message["reasoning_content"] == "Hmm"
    assert message["thinking_blocks"] == [{"type": "thinking", "thinking": "Hmm"}]
    assert message["content"] == "Yes"


def test_a_call_keeps_its_own_id_and_carries_its_signature() -> None:
    message = message_of({"functionCall": {"id": "x7", "name": "look"}, "thoughtSignature": "a+/b"}, CALL)

    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "x7__thought__a-_b", "type": "function", "function": {"name": "look", "arguments": "{}"}},
        {"id": "call_new", "type": "function", "function": {"name": "look", "arguments": '{"at":"it"}'}},
    ]


def test_integers_in_a_calls_arguments_stay_exact_whatever_their_size() -> None:
    [call] = message_of({"functionCall": {"name": "look", "args": {"n": 2**64}}})["tool_calls"]

    assert call["function"]["arguments"] == f'{{"n":{2**64}}}'


def test_a_signature_of_a_text_says_where_the_text_ended() -> None:
    message = message_of({"text": "Yes", "thoughtSignature": "sig"})

    assert message["provider_specific_fields"] == {"gemini_parts": [{"at": 3, "thoughtSignature": "sig"}]}


@pytest.mark.parametrize(
    "part",
    [
        SEARCHED,
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thought": True},
        {"hologram": {"depth": 3}},
    ],
)
def test_what_openai_has_no_word_for_is_kept_in_its_place(part: dict[str, Any]) -> None:
    message = message_of({"text": "So: "}, part, {"text": "there."})

    assert message["content"] == "So: there."
    at = 0 if part.get("thought") else 4
    assert message["provider_specific_fields"]["gemini_parts"] == [{"at": at, **part}]


def test_a_text_with_unknown_companions_flows_on() -> None:
    message = message_of({"text": "Hi", "partMetadata": {"a": 1}})

    assert message["content"] == "Hi"
    assert message["provider_specific_fields"]["gemini_parts"] == [{"at": 2, "text": "", "partMetadata": {"a": 1}}]


def test_an_image_is_an_image_url() -> None:
    message = message_of({"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "sig"})

    assert message["images"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "thought_signature": "sig"}
    ]


def test_what_else_a_part_says_is_kept_with_the_entry_that_it_became() -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": "AAAA", "displayName": "cat"}, "videoMetadata": {"fps": 1}}

    message = message_of(CALL, {**CALL, "partMetadata": {"a": 1}}, image)

    assert message["provider_specific_fields"]["gemini_parts"] == [
        {"at": 0, "tool_calls": 1, "partMetadata": {"a": 1}},
        {"at": 0, "images": 0, "videoMetadata": {"fps": 1}, "inlineData": {"displayName": "cat"}},
    ]


def test_audio_in_pieces_is_one_audio() -> None:
    pieces = [base64.b64encode(piece).decode() for piece in (b"ab", b"cde")]
    parts = [{"inlineData": {"mimeType": "audio/L16;rate=24000", "data": piece}} for piece in pieces]

    audio = message_of(*parts)["audio"]

    assert base64.b64decode(audio["data"]) == b"abcde"
    assert audio["mime_type"] == "audio/L16;rate=24000"


# --- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("LANGUAGE", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("A_REASON_OF_TOMORROW", "content_filter"),
    ],
)
def test_every_end_has_openais_word(reason: str, expected: str) -> None:
    choice = choice_of(response({"text": "Hi"}, finish=reason))

    assert choice["finish_reason"] == expected
    fields = choice["message"].get("provider_specific_fields") or {}
    assert fields.get("native_finish_reason") == (reason if expected == "content_filter" else None)


def test_calls_end_with_tool_calls() -> None:
    assert choice_of(response(CALL))["finish_reason"] == "tool_calls"
    assert choice_of(response(CALL, finish="MAX_TOKENS"))["finish_reason"] == "length"


@pytest.mark.parametrize(
    "reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "OTHER", "NO_IMAGE"]
)
def test_what_the_model_failed_to_write_is_no_answer(reason: str) -> None:
    with pytest.raises(UpstreamError, match=f"invalid_response: the model ended with {reason}: Bad call"):
        choice_of(response({"text": "Hi"}, finish=reason, finishMessage="Bad call"))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"candidates": []},
        {"candidates": [], "promptFeedback": {}},
        response(),
        response(finish=None),
        {"candidates": [{"content": {}, "index": 0}]},
    ],
)
def test_nothing_is_no_answer(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError, match="invalid_response"):
        choice_of(body)


@pytest.mark.parametrize("index", [{}, {"index": None}])
def test_candidates_without_an_index_take_the_free_ones(index: dict[str, Any]) -> None:
    said = [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"} for text in ("Yes", "No", "So")]
    body = {"candidates": [{**said[0], **index}, {**said[1], "index": 0}, {**said[2], **index}]}

    choices = decode_answer(body, lambda: "").choices

    assert [(choice["index"], choice["message"]["content"]) for choice in choices] == [(1, "Yes"), (0, "No"), (2, "So")]


def test_a_candidate_without_parts_spoils_no_other() -> None:
    full = {"content": {"parts": [{"text": "Yes"}]}, "finishReason": "STOP", "index": 0}
    body = {"candidates": [full, {"content": {}, "finishReason": "STOP", "index": 1}]}

    choices = decode_answer(body, lambda: "").choices

    assert [choice["message"]["content"] for choice in choices] == ["Yes", None]


def test_thinking_that_took_all_tokens_is_an_answer_that_was_cut_off() -> None:
    choice = choice_of(response(finish="MAX_TOKENS"))

    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", None)


def test_a_text_that_is_empty_is_an_answer_where_it_counts() -> None:
    counted = response({"text": ""}) | {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1}}

    assert choice_of(counted)["message"]["content"] == ""


def test_an_empty_text_that_counts_as_no_tokens_is_no_answer() -> None:
    for metadata in (None, {"promptTokenCount": 3, "totalTokenCount": 3}):
        with pytest.raises(UpstreamError, match="invalid_response: an answer without content"):
            choice_of(response({"text": ""}) | {"usageMetadata": metadata})


def test_a_signature_with_an_empty_text_says_something() -> None:
    assert choice_of(response({"text": "", "thoughtSignature": "abc"}))["message"]["content"] == ""


def test_a_blocked_prompt_is_a_filtered_answer() -> None:
    feedback = {"blockReason": "OTHER", "safetyRatings": [{"category": "X", "probability": "HIGH"}]}

    choice = choice_of({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 3}})

    assert choice["finish_reason"] == "content_filter"
    assert choice["message"]["content"] is None
    assert choice["message"]["provider_specific_fields"] == {"prompt_feedback": feedback}


def test_several_candidates_are_several_choices() -> None:
    body = {
        "candidates": [
            {"content": {"parts": [{"text": text}]}, "finishReason": "STOP", "index": index}
            for index, text in enumerate(("Yes", "No"))
        ]
    }

    choices = decode_answer(body, lambda: "").choices

    assert [(choice["index"], choice["message"]["content"]) for choice in choices] == [(0, "Yes"), (1, "No")]


# --- metadata --------------------------------------------------------------------------------------


def test_grounding_is_annotations_in_characters() -> None:
    text = "Größe: 5 m"
    start, end = len("Größe: ".encode()), len(text.encode())
    grounding = {
        "groundingChunks": [
            {"web": {"uri": "https://a.example", "title": "A"}},
            {"retrievedContext": {"text": "no address"}},
            {"maps": {"uri": "https://m.example"}},
        ],
        "groundingSupports": [
            {"segment": {"startIndex": start, "endIndex": end}, "groundingChunkIndices": [0, 1, 2, 9]}
        ],
    }

    message = message_of({"text": text}, groundingMetadata=grounding)

    assert [annotation["url_citation"] for annotation in message["annotations"]] == [
        {"start_index": 7, "end_index": 10, "url": "https://a.example", "title": "A"},
        {"start_index": 7, "end_index": 10, "url": "https://m.example", "title": ""},
    ]
    assert message["provider_specific_fields"] == {"grounding_metadata": grounding}


def test_citations_are_annotations() -> None:
    cited = {"citationSources": [{"endIndex": 2, "uri": "https://a.example", "license": "mit"}, {"endIndex": 2}]}

    [annotation] = message_of({"text": "Hello"}, citationMetadata=cited)["annotations"]

    assert annotation == {
        "type": "url_citation",
        "url_citation": {"start_index": 0, "end_index": 2, "url": "https://a.example", "title": ""},
    }


def test_whatever_else_a_candidate_says_is_kept() -> None:
    message = message_of({"text": "Hi"}, avgLogprobs=-0.5, safetyRatings=[], somethingNew={"a": 1})

    assert message["provider_specific_fields"] == {
        "avg_logprobs": -0.5,
        "safety_ratings": [],
        "something_new": {"a": 1},
    }


def test_logprobs_are_openais() -> None:
    result = {
        "chosenCandidates": [{"token": "Hé", "tokenId": 1, "logProbability": -0.1}],
        "topCandidates": [{"candidates": [{"token": "Hi", "logProbability": -2.5}]}],
    }

    logprobs = choice_of(response({"text": "Hé"}, logprobsResult=result))["logprobs"]

    [token] = logprobs["content"]
    assert (token["token"], token["logprob"], token["bytes"]) == ("Hé", -0.1, [72, 195, 169])
    assert token["top_logprobs"] == [{"token": "Hi", "logprob": -2.5, "bytes": [72, 105]}]


def test_an_answer_says_when_and_at_which_tier_it_was_made() -> None:
    body = response({"text": "Hi"}, usage={"promptTokenCount": 1, "serviceTier": "standard"})
    body |= {"createTime": "2026-08-19T14:38:51.607308Z", "responseId": "r1", "modelVersion": "gemini-2.5-pro"}

    answer = decode_answer(body, lambda: "")

    assert (answer.created, answer.extra) == (1_787_150_331, {"service_tier": "default"})
    assert (answer.response_id, answer.response_model) == ("r1", "gemini-2.5-pro")


@pytest.mark.parametrize("time", ["noon", None, 5])
def test_an_odd_time_spoils_no_answer(time: Any) -> None:
    assert decode_answer({**response({"text": "Hi"}), "createTime": time}, lambda: "").created is None


def test_null_says_as_much_as_an_absent_field() -> None:
    nothing = {"text": None, "functionCall": None, "inlineData": None, "thought": None, "thoughtSignature": None}
    call = {"functionCall": {"name": "look", "id": None, "args": None, "willContinue": None, "partialArgs": None}}
    image = {"inlineData": {"mimeType": "image/png", "data": "AAAA", "displayName": None}}
    candidate = {"groundingMetadata": None, "citationMetadata": None, "logprobsResult": None, "avgLogprobs": None}
    empty: dict[str, Any] = {"promptFeedback": None, "responseId": None, "modelVersion": None, "usageMetadata": None}
    nulls = {**response({**nothing, "text": "Hi"}, {**nothing, **call}, {**nothing, **image}, **candidate), **empty}
    bare = response({"text": "Hi"}, {"functionCall": {"name": "look"}}, image)

    assert decode_answer(nulls, lambda: "id") == decode_answer(bare, lambda: "id")
    assert GoogleStream(lambda: "id").decode(nulls) == GoogleStream(lambda: "id").decode(bare)


# --- usage -----------------------------------------------------------------------------------------


def test_usage_adds_what_google_counts_apart() -> None:
    usage = usage_of(
        promptTokenCount=100,
        cachedContentTokenCount=40,
        toolUsePromptTokenCount=7,
        candidatesTokenCount=10,
        thoughtsTokenCount=5,
        totalTokenCount=122,
    )

    assert usage == Usage(input_tokens=107, output_tokens=15, cache_read_tokens=40, reasoning_tokens=5)


def test_audio_that_was_not_cached_is_counted_as_audio() -> None:
    usage = usage_of(
        promptTokenCount=100,
        cachedContentTokenCount=30,
        promptTokensDetails=[{"modality": "TEXT", "tokenCount": 20}, {"modality": "AUDIO", "tokenCount": 80}],
        cacheTokensDetails=[{"modality": "AUDIO", "tokenCount": 30}],
    )

    assert (usage.audio_input_tokens, usage.cache_read_tokens) == (50, 30)


@pytest.mark.parametrize("counts", [{}, {"candidatesTokenCount": None}])
def test_an_output_that_is_not_counted_is_what_the_total_leaves(counts: dict[str, Any]) -> None:
    usage = usage_of(promptTokenCount=100, thoughtsTokenCount=5, totalTokenCount=120, **counts)

    assert usage.output_tokens == 20


@pytest.mark.parametrize("usage", [None, {"promptTokenCount": None}])
def test_usage_that_is_not_reported_is_none(usage: Any) -> None:
    assert decode_answer(response({"text": "Hi"}, usage=usage), lambda: "").usage is None


def test_searches_are_counted_as_google_bills_them() -> None:
    grounded: dict[str, Any] = {"groundingMetadata": {"webSearchQueries": ["a", "b", ""]}}
    body = response({"text": "Hi"}, usage={"promptTokenCount": 1}, **grounded)
    stream = GoogleStream(lambda: "")

    streamed = [
        chunk.usage
        for event in (body, response({"text": ""}, usage={"promptTokenCount": 1}))
        for chunk in stream.decode(event)
    ]

    assert decode_answer(body, lambda: "").usage == Usage(input_tokens=1, web_searches=2)
    assert streamed[-1] == Usage(input_tokens=1, web_searches=2)


def test_counts_by_kind_are_details() -> None:
    usage = {
        "promptTokenCount": 30,
        "toolUsePromptTokenCount": 4,
        "candidatesTokenCount": 9,
        "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 20}, {"modality": "AUDIO", "tokenCount": 10}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 2}, {"modality": "AUDIO", "tokenCount": 7}],
        "trafficType": "ON_DEMAND",
    }

    answer = decode_answer(response({"text": "Hi"}, usage=usage), lambda: "")

    assert answer.usage == Usage(input_tokens=34, output_tokens=9, audio_input_tokens=10, audio_output_tokens=7)
    assert answer.usage_details == {
        "prompt_tokens_details": {"image_tokens": 20, "tool_use_prompt_tokens": 4},
        "completion_tokens_details": {"text_tokens": 2},
        "traffic_type": "ON_DEMAND",
    }


# --- streams ---------------------------------------------------------------------------------------


def test_a_stream_is_complete_with_a_finish_reason() -> None:
    stream = GoogleStream(lambda: "")

    stream.decode(response({"text": "Hi"}, finish=None))
    assert not stream.is_complete

    stream.decode(response({"text": ""}))
    assert stream.is_complete


def candidates(*said: tuple[int, str, str | None]) -> dict[str, Any]:
    return {
        "candidates": [
            {"index": index, "content": {"parts": [{"text": text}]}, "finishReason": finish}
            for index, text, finish in said
        ]
    }


def test_a_stream_is_not_complete_while_a_candidate_that_has_begun_is_open() -> None:
    stream = GoogleStream(lambda: "")

    stream.decode(candidates((0, "Yes", None), (1, "N", None)))
    stream.decode(candidates((0, "", "STOP")))
    assert not stream.is_complete

    stream.decode(candidates((1, "o", "STOP")))
    assert stream.is_complete


def test_an_answer_about_a_prompt_alone_completes_no_stream() -> None:
    stream = GoogleStream(lambda: "")

    stream.decode({"promptFeedback": {"safetyRatings": []}, "usageMetadata": {"promptTokenCount": 1}})

    assert not stream.is_complete


def test_what_a_stream_says_of_itself_stands_at_every_candidate() -> None:
    feedback: dict[str, Any] = {"promptFeedback": {"safetyRatings": []}}

    deltas = deltas_of(feedback, candidates((0, "Yes", "STOP"), (1, "No", "STOP")))

    assert [delta["provider_specific_fields"] for delta in deltas] == [{"prompt_feedback": {"safetyRatings": []}}] * 2


def test_a_streams_lists_say_where_their_entries_belong() -> None:
    first, second, third = deltas_of(
        response({"text": "Hm", "thought": True}, finish=None),
        response({"text": "m", "thought": True}, CALL, SEARCHED, finish=None),
        response(CALL, {"text": "so", "thought": True}, SEARCHED),
    )

    assert first["thinking_blocks"] == [{"index": 0, "type": "thinking", "thinking": "Hm"}]
    assert second["thinking_blocks"] == [{"index": 0, "type": "thinking", "thinking": "m"}]
    assert third["thinking_blocks"] == [{"index": 1, "type": "thinking", "thinking": "so"}]
    assert [call["index"] for delta in (second, third) for call in delta["tool_calls"]] == [0, 1]
    marks = [delta["provider_specific_fields"]["gemini_parts"][0] for delta in (second, third)]
    assert [mark["index"] for mark in marks] == [0, 1]


def test_calls_of_a_stream_end_it_with_tool_calls_even_when_the_end_comes_later() -> None:
    stream = GoogleStream(lambda: "")
    stream.decode(response(CALL, finish=None))

    [chunk] = stream.decode(response({"text": ""}))

    assert chunk.choices[0]["finish_reason"] == "tool_calls"


def test_a_streams_metadata_comes_once_with_its_end() -> None:
    ratings: dict[str, Any] = {"safetyRatings": [{"category": "X"}]}

    first, second = deltas_of(response({"text": "Hi"}, finish=None, **ratings), response({"text": ""}, **ratings))

    assert "provider_specific_fields" not in first
    assert second["provider_specific_fields"] == {"safety_ratings": [{"category": "X"}]}


def test_usage_without_counts_is_not_yet_usage() -> None:
    stream = GoogleStream(lambda: "")

    [chunk] = stream.decode(response({"text": "Hi"}, finish=None, usage={"trafficType": "ON_DEMAND"}))

    assert chunk.usage is None


def test_a_stream_whose_prompt_was_blocked_is_filtered() -> None:
    stream = GoogleStream(lambda: "")

    [chunk] = stream.decode({"promptFeedback": {"blockReason": "SAFETY"}})

    assert chunk.choices[0]["finish_reason"] == "content_filter"
    assert stream.is_complete


def test_a_stream_that_ends_without_content_is_no_answer() -> None:
    with pytest.raises(UpstreamError, match="invalid_response"):
        deltas_of(response(finish=None), response())


def piece(**call: Any) -> dict[str, Any]:
    return response({"functionCall": call}, finish=None)


def argument(path: str, **value: Any) -> dict[str, Any]:
    return {"jsonPath": path, **value}


def test_arguments_in_pieces_are_put_together() -> None:
    deltas = deltas_of(
        piece(name="look", willContinue=True),
        piece(partialArgs=[argument("$.place", stringValue="Bos", willContinue=True)], willContinue=True),
        piece(partialArgs=[argument("$.place", stringValue="ton")], willContinue=True),
        piece(partialArgs=[argument("$.list[1].n", numberValue=2)], willContinue=True),
        piece(partialArgs=[argument("$.list[0].n", numberValue=1), argument("$['a key']", boolValue=True)]),
        piece(name="look", willContinue=True),
        response({"text": ""}),
    )

    calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [
        {"place": "Boston", "list": [{"n": 1}, {"n": 2}], "a key": True},
        {},
    ]


def test_a_signature_may_come_with_any_piece_of_a_call() -> None:
    last = response({"functionCall": {}, "thoughtSignature": "sig", "partMetadata": {"a": 1}}, finish=None)

    _, delta = deltas_of(piece(name="look", willContinue=True), last)

    [call] = delta["tool_calls"]
    assert call["id"] == "call_new__thought__sig"
    assert delta["provider_specific_fields"]["gemini_parts"][0]["partMetadata"] == {"a": 1}
