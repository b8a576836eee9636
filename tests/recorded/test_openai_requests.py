"""What a client asked of OpenAI is what OpenAI is asked through the gateway, apart from what is listed here."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from functions.gateway.wire import parse_chat_request, parse_embedding_request
from functions.providers.openai import openai_embedder, openai_upstream
from tests.recorded.exchanges import Exchange, recorded
from tests.recorded.fields import leaves, place
from tests.recorded.openai_models import deployment_of
from tests.recorded.replay import ReplayingProvider

# (what happened, where) → why.
DIFFERENCES = {
    ("added", "stream_options.include_usage"): "the gateway bills by the usage that a stream reports when asked",
    ("added", "model"): "Azure's address names the model, and its body need not",
    ("left out", "messages[].content[].image_url"): "the short form of an image is written out as the object",
    ("added", "messages[].content[].image_url.url"): "the short form of an image is written out as the object",
}


def asked(exchange: Exchange) -> bytes:
    """The body that the client would send to the gateway: OpenAI's own."""
    return json.dumps({"model": exchange.model, **exchange.request}).encode()


async def sent_chat(exchange: Exchange) -> Any:
    request = parse_chat_request(asked(exchange), drop_params=True)
    provider, deployment = ReplayingProvider(exchange), deployment_of(request.alias)
    async with provider.client() as client:
        upstream = openai_upstream(client)
        if request.is_stream:
            async with upstream.stream(request, deployment) as chunks:
                async for _ in chunks:
                    pass
        else:
            await upstream.complete(request, deployment)
    return provider.received[0].body


def differences(recorded_body: Any, sent_body: Any) -> set[tuple[str, str]]:
    before, after = dict(leaves(recorded_body)), dict(leaves(sent_body))
    named = {("left out", place(path)) for path in before.keys() - after.keys()}
    named |= {("added", place(path)) for path in after.keys() - before.keys()}
    return named | {("changed", place(path)) for path in before.keys() & after.keys() if before[path] != after[path]}


async def test_every_recorded_chat_request_is_sent_as_it_was(cassettes: Path) -> None:
    found: Counter[tuple[str, str]] = Counter()
    seen = 0
    for exchange in recorded(cassettes, "openai", "chat.completions"):
        if not exchange.is_ok or "truncated_stream" in exchange.features:
            continue
        here = differences(exchange.request, await sent_chat(exchange))
        assert here <= DIFFERENCES.keys(), exchange.id
        found.update(here)
        seen += 1

    assert seen > 150
    assert found.keys() == DIFFERENCES.keys()


async def test_every_recorded_embedding_request_is_sent_as_it_was(cassettes: Path) -> None:
    seen = 0
    for exchange in recorded(cassettes, "openai", "embeddings"):
        if not exchange.is_ok:
            continue
        provider = ReplayingProvider(exchange)
        request = parse_embedding_request(asked(exchange), drop_params=True)
        async with provider.client() as client:
            await openai_embedder(client).embed(request, deployment_of(request.alias))

        assert provider.received[0].body == exchange.request, exchange.id
        seen += 1
    assert seen > 5


@pytest.mark.parametrize("api", ["chat.completions", "embeddings"])
def test_the_paths_are_openais(cassettes: Path, api: str) -> None:
    path = {"chat.completions": "/v1/chat/completions", "embeddings": "/v1/embeddings"}[api]

    assert path in {exchange.path for exchange in recorded(cassettes, "openai", api)}
