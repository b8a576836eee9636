"""What a request asks for in its body: its own chain, patience and retries."""

import httpx2
import pytest

from tests.e2e.stack import wait_for
from tests.faults.behaviour import GOOD, Behaviour
from tests.faults.client import ask
from tests.faults.faults import content_policy, refusing
from tests.faults.gateway import Gateway
from tests.faults.wires import WIRES

BOUND_S = 20
DOWN = refusing("openai", 500)


async def test_its_own_fallbacks_replace_the_configured_ones(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    gateway.upstream.set_script("own-fallback", DOWN)

    received = await ask(
        client, "own-fallback", "x", is_stream=True, within_s=BOUND_S, fallbacks=["own-fallback-third"]
    )

    assert received.headers["x-litellm-model-id"] == "own-fallback-third"
    assert gateway.upstream.seen_by("own-fallback-second") == []


async def test_fallbacks_can_be_disabled(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    gateway.upstream.set_script("own-fallback", DOWN)
    before = len(gateway.upstream.seen_by("own-fallback-second"))

    received = await ask(client, "own-fallback", "x", is_stream=False, within_s=BOUND_S, disable_fallbacks=True)

    assert received.outcome == "error"
    assert len(gateway.upstream.seen_by("own-fallback-second")) == before


@pytest.mark.parametrize("retries", range(4))
async def test_it_is_retried_as_often_as_it_wants(gateway: Gateway, client: httpx2.AsyncClient, retries: int) -> None:
    gateway.upstream.set_script(f"retries-{retries}", DOWN)

    received = await ask(client, f"retries-{retries}", "x", is_stream=False, within_s=BOUND_S, num_retries=retries)

    assert received.outcome == "error"
    assert len(gateway.upstream.seen_by(f"retries-{retries}")) == 1 + retries


@pytest.mark.parametrize("is_stream", [False, True])
async def test_its_timeout_bounds_an_attempt(gateway: Gateway, client: httpx2.AsyncClient, is_stream: bool) -> None:
    gateway.upstream.set_script("impatient", Behaviour(wait_s=30))

    received = await ask(
        client,
        "impatient",
        "x",
        is_stream=is_stream,
        within_s=BOUND_S,
        timeout=0.5,
        fallbacks=["impatient-second"],
    )

    assert (received.outcome, received.seconds < 3) == ("answer", True)


async def test_none_of_it_is_sent_upstream(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    wishes = {"fallbacks": ["own-fallback-third"], "num_retries": 1, "timeout": 9, "stream_timeout": 9}

    received = await ask(client, "private", "x", is_stream=True, within_s=BOUND_S, **wishes)

    (seen,) = gateway.upstream.seen_by("private")
    assert received.outcome == "answer"
    assert not set(wishes) & set(seen.body)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_refused_content_is_told_to_its_sender_at_once(
    gateway: Gateway, client: httpx2.AsyncClient, wire: str
) -> None:
    gateway.upstream.set_script(f"refused-{wire}", content_policy(wire), GOOD)

    received = await ask(client, f"refused-{wire}", "x", is_stream=False, within_s=BOUND_S)

    assert received.outcome in ("error", "curtailed")
    assert len(gateway.upstream.seen_by(f"refused-{wire}")) == 1


async def test_a_client_that_leaves_is_not_answered_in_vain(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    gateway.upstream.set_script("leaving", Behaviour(pause_s=0.2))

    async with client.stream(
        "POST",
        "/v1/chat/completions",
        json={"model": "leaving", "messages": [{"role": "user", "content": "x"}], "stream": True},
        headers={"x-litellm-call-id": "leaving"},
        timeout=BOUND_S,
    ) as response:
        async for _ in response.aiter_lines():
            break

    wait_for(lambda: [seen.outcome for seen in gateway.upstream.seen_by("leaving")] == ["left"])
    (recorded,) = wait_for(lambda: gateway.recorded().get("leaving")) or []
    assert recorded.outcome == "client_disconnected"
