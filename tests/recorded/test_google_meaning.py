"""Every recorded answer of Google says in OpenAI's words what it says in its own, as read apart from the gateway."""

import json
from pathlib import Path
from typing import Any

from functions.gateway.run import OpenAttempt
from functions.gateway.wire import ChunkRenderer, render_answer
from functions.providers.google import google_upstream
from functions.providers.upstream import ProviderUpstream
from tests.builders import chat_request, deployment
from tests.recorded.google_reading import read_events, read_usage, shown_choice, shown_usage
from tests.recorded.replay import ReplayingProvider
from tests.recorded.stock_client import read_stream
from tests.recorded.test_google_answers import ALSO, BROKEN, FAILED, SEVERAL_ENDS, _chunks, events_of, exchanges


async def test_every_recorded_whole_answer_says_what_google_said(cassettes: Path) -> None:
    answered = [exchange for exchange in exchanges(cassettes, "generateContent") if exchange.id not in FAILED]
    provider = ReplayingProvider(answered[0])
    counted = 0
    async with provider.client() as http:
        for exchange in answered:
            provider.exchange = exchange
            shown = await _whole(google_upstream(http))
            expected = read_usage([exchange.body])

            assert _choices(shown) == read_events([exchange.body]), exchange.id
            assert expected is None or shown_usage(shown["usage"]) == expected, exchange.id
            counted += expected is not None
    assert counted > 100


async def test_every_recorded_stream_says_what_google_said(cassettes: Path) -> None:
    streamed = [exchange for exchange in exchanges(cassettes, "streamGenerateContent") if exchange.id not in BROKEN]
    provider = ReplayingProvider(streamed[0])
    counted = 0
    async with provider.client() as http:
        for exchange in streamed:
            provider.exchange = exchange
            shown = await _added_up(google_upstream(http))
            expected = read_usage(events_of(exchange))

            if exchange.id not in SEVERAL_ENDS:
                assert _choices(shown) == read_events(events_of(exchange)), exchange.id
            assert expected is None or shown_usage(shown["usage"]) == expected, exchange.id
            counted += expected is not None
    assert counted > 50


async def _whole(upstream: ProviderUpstream) -> dict[str, Any]:
    answer = await upstream.complete(chat_request(), deployment("gemini", "gemini-2.5-pro"))
    return json.loads(render_answer(answer, model="gemini", fallback_id="chatcmpl-1", created=1))


async def _added_up(upstream: ProviderUpstream) -> dict[str, Any]:
    """Give what the stock client makes of a stream, with its usage."""
    attempt = OpenAttempt(deployment(), chat_request(stream=True), started=0)
    renderer = ChunkRenderer(model="gemini", fallback_id="chatcmpl-1", created=1, wants_usage=True)
    events: list[bytes] = []
    for chunk in await _chunks(upstream):
        attempt.follow(chunk)
        events.append(renderer.render(chunk))
    events.append(renderer.render_usage(attempt.final_usage, attempt.usage_details))
    return read_stream(filter(None, events), also=ALSO).to_dict()


def _choices(shown: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {choice["index"]: shown_choice(choice) for choice in shown["choices"]}
