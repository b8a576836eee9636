"""What becomes of embeddings that came garbled."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from events.spend import Usage
from functions.gateway.errors import UpstreamError
from functions.gateway.ports import EmbeddingRequest
from functions.providers.embedder import ProviderEmbedder
from functions.providers.google import google_embedder
from functions.providers.openai import openai_embedder
from tests.builders import deployment

EMBEDDERS: dict[str, Callable[[httpx2.AsyncClient], ProviderEmbedder]] = {
    "openai": openai_embedder,
    "gemini": google_embedder,
}
REPORTS = {"openai": {"usage": {"prompt_tokens": 4}}, "gemini": {"usageMetadata": {"promptTokenCount": 4}}}
MALFORMED: list[tuple[str, dict[str, Any]]] = [
    ("openai", {"data": [5]}),
    ("openai", {"data": []}),
    ("gemini", {"embeddings": [5]}),
    ("gemini", {"embeddings": [{}]}),
]


async def failure(provider: str, body: dict[str, Any]) -> UpstreamError:
    """What comes of an answer with this body."""
    request = EmbeddingRequest(alias="e", body={"input": "Hello"})
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json=body))) as http:
        with pytest.raises(UpstreamError) as failed:
            await EMBEDDERS[provider](http).embed(request, deployment(provider, "e"))
    return failed.value


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("openai", {"data": [{"embedding": [0.1]}, {"embedding": [0.2]}]}),
        ("openai", {"data": [{"embedding": []}]}),
        ("gemini", {"embeddings": [{"values": [0.1]}, {"values": [0.2]}]}),
    ],
)
async def test_there_is_one_vector_for_each_input_or_none_at_all(provider: str, body: dict[str, Any]) -> None:
    assert (await failure(provider, body)).status == "invalid_response"


@pytest.mark.parametrize(("provider", "body"), MALFORMED)
async def test_a_malformed_answer_is_billed_as_it_reports(provider: str, body: dict[str, Any]) -> None:
    failed = await failure(provider, {**body, **REPORTS[provider]})

    assert (failed.status, failed.usage) == ("invalid_response", Usage(input_tokens=4))


@pytest.mark.parametrize(("provider", "body"), MALFORMED)
async def test_a_malformed_answer_that_reports_nothing_is_billed_nothing(provider: str, body: dict[str, Any]) -> None:
    assert (await failure(provider, body)).usage is None
