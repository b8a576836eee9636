"""Embeddings from the path to the provider and back, against the sandbox on the providers' own wires."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, cast

import httpx2
import pytest
from openai import AsyncOpenAI

from events.spend import CompletionFailed
from functions.bootstrap import load_catalog
from functions.gateway.config import Credentials, parse_config
from functions.gateway.health import Fleet
from functions.gateway.pipeline import Completions
from functions.gateway.ports import Counters
from functions.providers.google import google_embedder, google_upstream
from functions.providers.openai import openai_embedder, openai_upstream
from functions.surface.edge import at_edge
from functions.surface.router import Surface, build_router
from infra.local.sandbox.__main__ import Sandbox, build_app
from tests.builders import NOON
from tests.functions.stand_ins import HeldBus, OpenAdmission, open_keyring

FILE = {
    "model_list": [
        {"model_name": "small", "litellm_params": {"model": "openai/text-embedding-3-small"}},
        {"model_name": "google", "litellm_params": {"model": "gemini/gemini-embedding-001"}},
        {"model_name": "gpt-4o", "litellm_params": {"model": "openai/gpt-4o"}},
    ],
    "router_settings": {"fallbacks": [{"small": ["google"]}]},
}


class Gateway:
    """A client of the gateway, the sandbox behind it, and what was published."""

    def __init__(self, http: httpx2.AsyncClient, sandbox: Sandbox, bus: HeldBus) -> None:
        self.http, self.sandbox, self.bus = http, sandbox, bus
        self.openai = AsyncOpenAI(api_key="sk-any", base_url="http://gateway/v1", http_client=http, max_retries=0)

    async def post(self, **body: Any) -> httpx2.Response:
        return await self.http.post("/embeddings", json=body)


@pytest.fixture
async def gateway() -> AsyncGenerator[Gateway]:
    sandbox, bus = Sandbox(), HeldBus()
    credentials = {name: Credentials(api_key="sk", api_base="http://sandbox") for name in ("openai", "gemini")}
    credentials["openai"] = Credentials(api_key="sk", api_base="http://sandbox/v1")
    config = parse_config(FILE, catalog=load_catalog(), environment={}, credentials=credentials)
    async with AsyncExitStack() as stack:
        providers = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=build_app(sandbox)))
        await stack.enter_async_context(providers)
        completions = Completions(
            config=config,
            upstreams={"openai": openai_upstream(providers), "gemini": google_upstream(providers)},
            embedders={"openai": openai_embedder(providers), "gemini": google_embedder(providers)},
            fleet=Fleet(),
            random=lambda: 0.0,
            admission=OpenAdmission(),
            bus=bus,
            now=_noon,
            clock=lambda: 0.0,
        )
        keyring = open_keyring()
        surface = Surface(config, cast("Counters", None), keyring, now=_noon, is_sandbox=True)
        app = httpx2.ASGITransport(app=at_edge(build_router(surface, completions, config, keyring)))
        http = await stack.enter_async_context(httpx2.AsyncClient(transport=app, base_url="http://gateway"))
        yield Gateway(http, sandbox, bus)


def _noon() -> datetime:
    return NOON


@pytest.mark.parametrize(("model", "size"), [("small", 1536), ("google", 3072)])
async def test_the_stock_client_gets_a_vector_for_each_text(gateway: Gateway, model: str, size: int) -> None:
    answer = await gateway.openai.embeddings.create(model=model, input=["Say hello", "Say goodbye"])

    assert [entry.index for entry in answer.data] == [0, 1]
    assert [len(entry.embedding) for entry in answer.data] == [size, size]
    assert answer.model == model


@pytest.mark.parametrize("model", ["small", "google"])
async def test_both_encodings_hold_the_same_numbers(gateway: Gateway, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "input": "Say hello", "dimensions": 4}
    packed = await gateway.openai.embeddings.create(**asked, encoding_format="base64")
    listed = await gateway.openai.embeddings.create(**asked, encoding_format="float")

    assert isinstance(packed.data[0].embedding, str)
    answer = await gateway.openai.embeddings.create(**asked)
    assert answer.data[0].embedding == pytest.approx(listed.data[0].embedding, rel=1e-6)


async def test_embeddings_are_billed_like_the_rest(gateway: Gateway) -> None:
    answer = await gateway.post(model="small", input="x" * 400, user="ada")

    spend = gateway.bus.spend
    assert (spend.alias, spend.upstream_model, spend.scopes.end_user) == ("small", "text-embedding-3-small", "ada")
    assert (spend.usage.input_tokens, spend.usage.output_tokens, spend.cost) == (100, 0, 100 * 20)
    assert not spend.usage_is_estimated
    assert answer.headers["x-litellm-response-cost"] == "0.000002000"
    assert answer.json()["usage"] == {"prompt_tokens": 100, "total_tokens": 100}


async def test_usage_that_google_does_not_report_is_estimated(gateway: Gateway) -> None:
    answer = await gateway.post(model="google", input=["x" * 400, "y" * 4])

    assert (gateway.bus.spend.usage.input_tokens, gateway.bus.spend.usage_is_estimated) == (101, True)
    assert answer.json()["usage"]["prompt_tokens"] == 101


async def test_embeddings_whose_spend_can_not_be_recorded_are_withheld(gateway: Gateway) -> None:
    gateway.bus.is_down = True

    answer = await gateway.post(model="small", input="x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")


async def test_a_failing_provider_falls_back(gateway: Gateway) -> None:
    answer = await gateway.post(model="small", input="x [sandbox: openai=503]", user="ada")

    assert answer.headers["x-gateway-attempts"] == "openai/text-embedding-3-small=503, gemini/gemini-embedding-001=200"
    assert answer.headers["x-gateway-dropped-params"] == "user"
    assert answer.json()["model"] == "gemini-embedding-001"


async def test_a_request_that_nobody_answers_leaves_a_failure(gateway: Gateway) -> None:
    answer = await gateway.post(model="small", input="x [sandbox: openai=500 gemini=503]")

    assert answer.status_code == 503
    assert isinstance(gateway.bus.published[0], CompletionFailed)


async def test_tokens_go_to_openai_as_they_are(gateway: Gateway) -> None:
    await gateway.post(model="small", input=[[1, 2], [3]])

    assert gateway.sandbox.requests[0]["body"]["input"] == [[1, 2], [3]]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/embeddings", {"model": "gpt-4o", "input": "x"}, "model"),
        ("/v1/embeddings", {"model": "small", "input": "x", "fallbacks": ["gpt-4o"]}, "fallbacks"),
        ("/v1/embeddings", {"model": "small"}, "input"),
        ("/v1/chat/completions", {"model": "small", "messages": [{"role": "user", "content": "x"}]}, "model"),
    ],
)
async def test_what_can_not_be_asked_is_refused_by_the_name_of_its_field(
    gateway: Gateway, path: str, body: dict[str, Any], param: str
) -> None:
    answer = await gateway.http.post(path, json=body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert not gateway.sandbox.requests


async def test_an_unknown_model_is_not_found(gateway: Gateway) -> None:
    assert (await gateway.post(model="other", input="x")).status_code == 404


async def test_the_modes_are_listed(gateway: Gateway) -> None:
    listed = (await gateway.http.get("/v1/models")).json()["data"]

    assert {entry["id"]: entry["mode"] for entry in listed} == {
        "small": "embedding",
        "google": "embedding",
        "gpt-4o": "chat",
    }
