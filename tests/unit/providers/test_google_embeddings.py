"""Embeddings on Google's wire."""

from typing import Any

import pytest

from events.spend import Usage
from functions.gateway.errors import BadRequest, UpstreamError
from functions.providers.google.embeddings import decode_embeddings, encode_embeddings


def test_each_input_is_a_request_of_its_own() -> None:
    body = {"model": "e", "input": ["a", "b"], "dimensions": 8, "encoding_format": "base64", "user": "u"}

    assert encode_embeddings(body, "gemini-embedding-001") == {
        "requests": [
            {
                "model": "models/gemini-embedding-001",
                "content": {"parts": [{"text": text}]},
                "outputDimensionality": 8,
            }
            for text in ("a", "b")
        ]
    }


def test_googles_own_options_pass_through() -> None:
    [request] = encode_embeddings({"input": "a", "task_type": "RETRIEVAL_QUERY"}, "e")["requests"]

    assert request["taskType"] == "RETRIEVAL_QUERY"


@pytest.mark.parametrize(("given", "where"), [("", "input"), ([], "input"), (None, "input"), (["a", ""], "input[1]")])
def test_an_empty_input_names_its_field(given: Any, where: str) -> None:
    with pytest.raises(BadRequest) as caught:
        encode_embeddings({"input": given}, "e")

    assert caught.value.param == where


@pytest.mark.parametrize("given", [[1, 2], [[1, 2]]])
def test_tokens_are_for_another_model(given: Any) -> None:
    with pytest.raises(UpstreamError, match="unsupported_content"):
        encode_embeddings({"input": given}, "e")


def test_vectors_come_in_order_with_the_usage_that_is_reported() -> None:
    details = [{"modality": "AUDIO", "tokenCount": 3}]
    usage = {"promptTokenCount": 4, "promptTokenDetails": details}

    vectors, used = decode_embeddings({"embeddings": [{"values": [0.5]}, {"values": [1]}], "usageMetadata": usage})

    assert vectors == [[0.5], [1]]
    assert used == Usage(input_tokens=4, audio_input_tokens=3)


@pytest.mark.parametrize("usage", [{"promptTokenCount": "4"}, {"promptTokenCount": -1}, {"promptTokenCount": None}])
def test_a_count_that_is_none_leaves_the_usage_unreported(usage: dict[str, Any]) -> None:
    assert decode_embeddings({"embedding": {"values": [0.5]}, "usageMetadata": usage}) == ([[0.5]], None)


def test_some_models_report_no_usage() -> None:
    assert decode_embeddings({"embedding": {"values": [0.5]}}) == ([[0.5]], None)


@pytest.mark.parametrize("body", [{}, {"embeddings": []}, {"embeddings": [{"values": []}]}])
def test_nothing_is_no_answer(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError, match="invalid_response"):
        decode_embeddings(body)
