"""What goes out to Google is what was recorded, for the equivalent OpenAI request."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from functions.gateway.errors import UpstreamError
from functions.gateway.ports import ChatRequest
from functions.providers.google import google_upstream
from functions.providers.upstream import ProviderUpstream
from tests.recorded.exchanges import Exchange, recorded
from tests.recorded.google_canonical import canonical
from tests.recorded.google_models import recorded_deployment
from tests.recorded.google_requests import openai_request
from tests.recorded.replay import Received, ReplayingProvider

_ONE_TEXT = "neighbouring texts of a turn of the model are one text in OpenAI's message"
_DEFAULT = "`includeThoughts: false` is the default, and no thinking has no thoughts to include"
_VERTEX = "Vertex wants no `includeServerSideToolInvocations`; the Gemini API, which we call, refuses to go without it"

# (exchange, field) → why what we send differs.
DIFFERENCES = {
    ("generate-test-google-model-thinking-part-from-other-model-2b654a", "contents[1].parts"): _ONE_TEXT,
    ("stream-generate-stream-ff0075", "contents[1].parts"): _ONE_TEXT,
    ("stream-generate-test-google-pdfs-4caa42", "contents[1].parts"): _ONE_TEXT,
    ("stream-generate-test-google-web-fetch-366a54", "contents[1].parts"): _ONE_TEXT,
    (
        "generate-test-call-with-params-google-gemini-2-5-flash-209a28",
        "generationConfig.thinkingConfig.includeThoughts",
    ): _DEFAULT,
    (
        "generate-test-google-vertex-tool-combination-omits-include-server-57c909",
        "toolConfig.includeServerSideToolInvocations",
    ): _VERTEX,
}


async def test_every_recorded_request_is_what_the_sdk_sends(cassettes: Path) -> None:
    exchanges = list(recorded(cassettes, "google", "generateContent", "streamGenerateContent"))
    answered = [exchange for exchange in exchanges if exchange.is_ok]
    sent = [received.body async for received in _sent(answered)]

    found = {
        (exchange.id, where)
        for exchange, body in zip(answered, sent, strict=True)
        for where in _different(canonical(exchange.request), canonical(body))
    }
    assert found == set(DIFFERENCES)
    assert len(answered) > 180


async def test_the_path_names_the_model_and_the_verb(cassettes: Path) -> None:
    exchange = next(recorded(cassettes, "google", "streamGenerateContent"))

    [received] = [received async for received in _sent([exchange])]

    model = recorded_deployment(exchange).upstream_model
    assert received.path == f"/v1beta/models/{model}:streamGenerateContent"
    assert received.query == "alt=sse"


async def _sent(exchanges: list[Exchange]) -> AsyncIterator[Received]:
    """Ask as a client that refuses to have anything left out; what is answered is of no interest here."""
    provider = ReplayingProvider(exchanges[0])
    async with provider.client() as http:
        upstream = google_upstream(http)
        for exchange in exchanges:
            provider.exchange = exchange
            with suppress(UpstreamError):
                await _ask(upstream, exchange)
            yield provider.received[-1]
    assert len(provider.received) == len(exchanges)


async def _ask(upstream: ProviderUpstream, exchange: Exchange) -> None:
    body, deployment = openai_request(exchange), recorded_deployment(exchange)
    request = ChatRequest(alias="gemini", body=body, is_stream=exchange.is_stream, wants_usage=False, drop_params=False)
    if exchange.is_stream:
        async with upstream.stream(request, deployment):
            pass
    else:
        await upstream.complete(request, deployment)


def _different(recorded: Any, sent: Any, path: str = "") -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(sent, dict):
        for name in recorded.keys() | sent.keys():
            yield from _different(recorded.get(name), sent.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(recorded, list) and isinstance(sent, list) and len(recorded) == len(sent):
        for index, (theirs, ours) in enumerate(zip(recorded, sent, strict=True)):
            yield from _different(theirs, ours, f"{path}[{index}]")
    elif recorded != sent:
        yield path
