"""What a recorded request may cost at most is never less than what its answer cost."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from events.spend import Usage
from functions.gateway.catalog import cost_of
from functions.gateway.errors import BadRequest, UpstreamError
from functions.gateway.ports import ChatRequest, Deployment
from functions.gateway.wire import parse_chat_request
from functions.gateway.worst_case import worst_case
from functions.providers.anthropic import anthropic_upstream
from functions.providers.google import google_upstream
from functions.providers.openai import openai_upstream
from functions.providers.upstream import ProviderUpstream
from tests.recorded import test_anthropic_requests
from tests.recorded.exchanges import Exchange, recorded
from tests.recorded.google_models import recorded_deployment
from tests.recorded.google_requests import openai_request
from tests.recorded.openai_models import deployment_of
from tests.recorded.replay import ReplayingProvider

Case = tuple[ChatRequest, Deployment]
UPSTREAMS: dict[str, Callable[[httpx2.AsyncClient], ProviderUpstream]] = {
    "anthropic": anthropic_upstream,
    "google": google_upstream,
    "openai": openai_upstream,
}
# exchange → why its answer is no measure
EXCEPTIONS = {
    "messages-test-anthropic-compaction-end-to-end-0b8eb6": "the recording has a small part of its text",
    "messages-test-pause-turn-web-search-vcr-53f6a8": "each of its searches read everything once more",
}


def anthropic_case(exchange: Exchange) -> Case:
    return test_anthropic_requests.request(exchange), test_anthropic_requests.deployment(exchange)


def google_case(exchange: Exchange) -> Case:
    body = json.dumps(openai_request(exchange)).encode()
    return parse_chat_request(body, drop_params=True), recorded_deployment(exchange)


def openai_case(exchange: Exchange) -> Case:
    body = json.dumps({"model": exchange.model, **exchange.request}).encode()
    return parse_chat_request(body, drop_params=True), deployment_of(exchange.model)


CASES: dict[str, tuple[Callable[[Exchange], Case], tuple[str, ...]]] = {
    "anthropic": (anthropic_case, ("messages",)),
    "google": (google_case, ("generateContent", "streamGenerateContent")),
    "openai": (openai_case, ("chat.completions",)),
}


def answered(cassettes: Path, provider: str) -> Iterator[tuple[Exchange, ChatRequest, Deployment]]:
    case, apis = CASES[provider]
    for exchange in recorded(cassettes, provider, *apis):
        if exchange.is_ok and exchange.id not in EXCEPTIONS:
            with suppress(BadRequest):
                yield exchange, *case(exchange)


async def usage_of(
    upstream: ProviderUpstream, exchange: Exchange, request: ChatRequest, deployment: Deployment
) -> Usage | None:
    """What the provider said of its answer; nothing where it ended without."""
    usage = None
    with suppress(UpstreamError):
        if exchange.sse is None:
            return (await upstream.complete(request, deployment)).usage
        async with upstream.stream(request, deployment) as chunks:
            async for chunk in chunks:
                usage = chunk.usage or usage
    return usage


@pytest.mark.parametrize("provider", CASES)
async def test_no_recorded_answer_cost_more_than_the_worst_case(cassettes: Path, provider: str) -> None:
    cases = list(answered(cassettes, provider))
    replaying, measured = ReplayingProvider(cases[0][0]), 0
    async with replaying.client() as client:
        upstream = UPSTREAMS[provider](client)
        for exchange, request, deployment in cases:
            replaying.exchange = exchange
            usage = await usage_of(upstream, exchange, request, deployment)
            if usage is not None:
                worst = worst_case(request, [deployment])
                assert cost_of(usage, deployment.model) <= worst.cost(worst.max_tokens), (exchange.id, usage)
                measured += 1

    assert measured > 120
