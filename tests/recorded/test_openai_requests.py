"""What a client asked of OpenAI is what OpenAI is asked through the gateway, apart from what is listed here."""

import json
from pathlib import Path
from typing import Any

import pytest

from functions.gateway.wire import parse_chat_request, parse_embedding_request
from functions.providers.openai import openai_embedder, openai_upstream
from tests.recorded.exchanges import Exchange, recorded
from tests.recorded.fields import leaves, place
from tests.recorded.openai_differences import RULES, Difference, expected
from tests.recorded.openai_models import deployment_of
from tests.recorded.replay import ReplayingProvider


def asked(exchange: Exchange, **renamed: str) -> bytes:
    """The body that the client would send to the gateway: OpenAI's own, with some fields under other names."""
    body = {"model": exchange.model, **exchange.request}
    return json.dumps({renamed.get(name, name): value for name, value in body.items()}).encode()


async def sent_chat(exchange: Exchange, **renamed: str) -> Any:
    request = parse_chat_request(asked(exchange, **renamed), drop_params=True)
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


def differences(recorded_body: Any, sent_body: Any) -> set[Difference]:
    before, after = dict(leaves(recorded_body)), dict(leaves(sent_body))
    named = {("left out", place(path)) for path in before.keys() - after.keys()}
    named |= {("added", place(path)) for path in after.keys() - before.keys()}
    return named | {("changed", place(path)) for path in before.keys() & after.keys() if before[path] != after[path]}


def answered(cassettes: Path) -> list[Exchange]:
    chats = recorded(cassettes, "openai", "chat.completions")
    return [exchange for exchange in chats if exchange.is_ok and "truncated_stream" not in exchange.features]


async def test_every_recorded_chat_request_is_sent_as_it_was(cassettes: Path) -> None:
    exchanges = answered(cassettes)
    for exchange in exchanges:
        assert differences(exchange.request, await sent_chat(exchange)) == expected(exchange.request), exchange.id

    assert len(exchanges) > 150
    for rule in RULES:
        assert any(rule.holds(exchange.request) for exchange in exchanges), rule.why


async def test_an_older_clients_limit_is_sent_to_a_reasoning_model_as_it_was_recorded(cassettes: Path) -> None:
    seen = 0
    for exchange in answered(cassettes):
        reasons = deployment_of(exchange.model).model.capabilities.get("reasoning")
        if reasons and "max_completion_tokens" in exchange.request:
            sent = await sent_chat(exchange, max_completion_tokens="max_tokens")
            assert differences(exchange.request, sent) == expected(exchange.request), exchange.id
            seen += 1
    assert seen > 5


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
