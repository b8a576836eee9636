"""What is sent to Anthropic for the equivalent of a recorded request is the recorded request."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.bootstrap import load_catalog
from functions.gateway.catalog import Model
from functions.gateway.errors import UpstreamError
from functions.gateway.ports import ChatRequest, Deployment
from functions.gateway.wire import parse_chat_request
from functions.providers.anthropic import anthropic_upstream
from tests import builders
from tests.recorded.anthropic_differences import DIFFERENCES, REFUSED
from tests.recorded.anthropic_requests import canonical, chat_body
from tests.recorded.exchanges import Exchange, recorded
from tests.recorded.fields import leaves, place
from tests.recorded.replay import Received, ReplayingProvider

CATALOG = load_catalog()


def model_of(name: str) -> Model:
    """What the catalog knows, or nothing for a model that is retired by now."""
    return CATALOG.models.get(("anthropic", name)) or builders.model()


def deployment(exchange: Exchange) -> Deployment:
    name = exchange.request["model"]
    return builders.deployment("anthropic", name, model=model_of(name))


def request(exchange: Exchange) -> ChatRequest:
    body = json.dumps(chat_body(exchange.request)).encode()
    return parse_chat_request(body, drop_params=True, headers=exchange.request_headers)


async def sent(exchange: Exchange) -> Received:
    provider = ReplayingProvider(exchange)
    async with provider.client() as client:
        upstream = anthropic_upstream(client)
        if request(exchange).is_stream:
            async with upstream.stream(request(exchange), deployment(exchange)) as chunks:
                async for _ in chunks:
                    pass
        else:
            await upstream.complete(request(exchange), deployment(exchange))
    return provider.received[0]


def differences(ours: Any, theirs: Any) -> Iterator[str]:
    """Name the places of what is on one side only."""
    here = dict(leaves(ours))
    there = dict(leaves(theirs))
    for path in here.keys() | there.keys():
        if here.get(path, ...) != there.get(path, ...):
            yield place(path)


def answered(cassettes: Path) -> list[Exchange]:
    return [
        exchange
        for exchange in recorded(cassettes, "anthropic", "messages")
        if exchange.is_ok and exchange.id not in REFUSED
    ]


async def test_every_recorded_request_is_sent_as_it_was(cassettes: Path) -> None:
    found: dict[str, set[str]] = {}
    for exchange in answered(cassettes):
        received = await sent(exchange)
        assert (received.method, received.path) == ("POST", "/v1/messages")
        if places := set(differences(canonical(received.body), canonical(exchange.request))):
            found[exchange.id] = places

    assert found == {exchange: set(places) for exchange, places in DIFFERENCES.items()}


async def test_what_can_not_be_billed_is_left_to_another_model(cassettes: Path) -> None:
    refused = [exchange for exchange in recorded(cassettes, "anthropic", "messages") if exchange.id in REFUSED]

    assert {exchange.id for exchange in refused} == REFUSED.keys()
    for exchange in refused:
        with pytest.raises(UpstreamError, match="billed"):
            await sent(exchange)


async def test_the_clients_betas_are_sent(cassettes: Path) -> None:
    for exchange in answered(cassettes):
        if named := exchange.request_headers.get("anthropic-beta"):
            betas = (await sent(exchange)).headers["anthropic-beta"].split(",")
            assert betas[: named.count(",") + 1] == named.split(","), exchange.id


def test_every_difference_has_its_reason() -> None:
    assert all(reason for places in DIFFERENCES.values() for reason in places.values())


@pytest.mark.parametrize("name", ["model", "max_tokens", "messages"])
def test_a_changed_request_is_a_difference(cassettes: Path, name: str) -> None:
    body = canonical(answered(cassettes)[0].request)

    assert list(differences(body, {key: value for key, value in body.items() if key != name}))
