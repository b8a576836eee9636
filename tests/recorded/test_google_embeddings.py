"""Recorded embeddings of Google: what goes out, and what comes back."""

from pathlib import Path
from typing import Any

from functions.providers.google.embeddings import decode_embeddings, encode_embeddings
from tests.recorded.exchanges import Exchange, recorded
from tests.recorded.fields import leaves, place

MAPPED = {"embeddings[].values[]", "embedding.values[]", "usageMetadata.promptTokenCount"}
DROPPED = {
    "usageMetadata.totalTokenCount": "embeddings have no other tokens",
    "usageMetadata.promptTokenDetails[].modality": "of audio it is mapped, of the rest the count says enough",
    "usageMetadata.promptTokenDetails[].tokenCount": "as above",
    "usageMetadata.promptTokensDetails[].modality": "as above",
    "usageMetadata.promptTokensDetails[].tokenCount": "as above",
}


def openai_request(exchange: Exchange) -> dict[str, Any]:
    """Give the equivalent request; Vertex' `:embedContent` is one request of our batch."""
    requests = exchange.request.get("requests") or [exchange.request]
    request: dict[str, Any] = {"input": [part["text"] for one in requests for part in one["content"]["parts"]]}
    names = {"outputDimensionality": "dimensions", "taskType": "taskType"}
    return request | {ours: requests[0][theirs] for theirs, ours in names.items() if theirs in requests[0]}


def model_of(exchange: Exchange) -> str:
    return exchange.path.rpartition("/")[2].partition(":")[0]


def test_every_recorded_request_is_what_goes_out(cassettes: Path) -> None:
    seen = 0
    for exchange in recorded(cassettes, "google", "embedContent"):
        sent = encode_embeddings(openai_request(exchange), model_of(exchange))["requests"]
        wanted = exchange.request.get("requests") or [exchange.request]
        for request in wanted:
            request["content"].pop("role", None)  # always `user`, and optional
            request.setdefault("model", f"models/{model_of(exchange)}")  # Vertex has it in the path

        assert sent == wanted, exchange.id
        seen += 1
    assert seen > 8


def test_every_recorded_answer_gives_its_vectors(cassettes: Path) -> None:
    for exchange in recorded(cassettes, "google", "embedContent"):
        if exchange.is_ok:
            vectors, usage = decode_embeddings(exchange.body)
            found = exchange.body.get("embeddings") or [exchange.body["embedding"]]

            assert vectors == [embedding["values"] for embedding in found]
            assert (usage is None) is ("usageMetadata" not in exchange.body)


def test_every_field_is_mapped_or_dropped_for_a_reason(cassettes: Path) -> None:
    answers = [exchange.body for exchange in recorded(cassettes, "google", "embedContent") if exchange.is_ok]

    assert {place(path) for body in answers for path, _ in leaves(body)} == MAPPED | DROPPED.keys()
