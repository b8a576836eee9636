"""Providers that keep a connection alive and say nothing."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import httpx2
import orjson
import pytest

from functions.gateway.errors import UpstreamError
from functions.providers.anthropic import anthropic_upstream
from functions.providers.openai import openai_upstream
from tests.builders import chat_request, deployment


def event(**data: object) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(data)


OPENAI = event(id="c-1", model="gpt-4o", choices=[{"index": 0, "delta": {"content": "Hel"}, "finish_reason": None}])
ANTHROPIC = b"".join([
    event(type="message_start", message={"id": "m-1", "model": "claude", "content": [], "usage": {"input_tokens": 1}}),
    event(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hel"}),
])  # fmt: skip


async def then_pings(start: bytes, ping: bytes) -> AsyncIterator[bytes]:
    yield start
    while True:
        await asyncio.sleep(0.01)
        yield ping


@pytest.fixture
async def http(request: pytest.FixtureRequest) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of a provider that says the parameter's start, and then pings without end."""
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers=headers, content=then_pings(*request.param))
    )
    async with httpx2.AsyncClient(transport=transport) as client:
        yield client


@pytest.mark.parametrize(
    ("http", "provider"),
    [
        ((OPENAI, b": keep-alive\n\n"), "openai"),
        ((OPENAI, event(choices=[{"index": 0, "delta": {"content": ""}}])), "openai"),
        ((ANTHROPIC, event(type="ping")), "anthropic"),
    ],
    ids=["comments", "empty chunks", "pings"],
    indirect=["http"],
)
async def test_pings_are_a_silence(http: httpx2.AsyncClient, provider: str) -> None:
    upstream = {"openai": openai_upstream, "anthropic": anthropic_upstream}[provider](http)
    to = deployment(provider, idle_timeout_s=0.2)

    async with asyncio.timeout(30), upstream.stream(chat_request(stream=True), to) as chunks:
        with pytest.raises(UpstreamError, match="timeout: the provider fell silent"):
            [chunk async for chunk in chunks]
