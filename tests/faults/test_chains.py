"""Where a request goes that is too long for a model, or that a model refuses."""

import httpx2
import pytest

from tests.faults.behaviour import GOOD
from tests.faults.client import ask
from tests.faults.faults import content_policy, context_window
from tests.faults.gateway import Gateway
from tests.faults.wires import WIRES

BOUND_S = 15
every_wire = pytest.mark.parametrize("wire", WIRES)
either_way = pytest.mark.parametrize("is_stream", [False, True])


@every_wire
@either_way
async def test_what_is_too_long_goes_to_the_chain_for_that(
    gateway: Gateway, client: httpx2.AsyncClient, wire: str, is_stream: bool
) -> None:
    gateway.upstream.set_script(f"long-{wire}", context_window(wire))
    before = len(gateway.upstream.seen_by(f"long-{wire}"))

    received = await ask(client, f"long-{wire}", "long", is_stream=is_stream, within_s=BOUND_S)

    assert received.outcome == "answer"
    assert received.headers["x-litellm-model-id"] == f"long-{wire}-larger"
    assert len(gateway.upstream.seen_by(f"long-{wire}")) == before + 1
    assert gateway.upstream.seen_by(f"long-{wire}-alike") == []


@every_wire
async def test_what_is_too_long_is_not_sent_again_to_a_model_of_the_same_size(
    gateway: Gateway, client: httpx2.AsyncClient, wire: str
) -> None:
    alias = f"long-without-chain-{wire}"
    gateway.upstream.set_script(alias, context_window(wire))

    received = await ask(client, alias, "long", is_stream=False, within_s=BOUND_S)

    assert (received.outcome, received.status) == ("error", 400)
    assert len(gateway.upstream.seen_by(alias)) == 1
    assert gateway.upstream.seen_by(f"long-{wire}-alike") == []


@every_wire
async def test_what_is_too_long_rests_nobody(gateway: Gateway, client: httpx2.AsyncClient, wire: str) -> None:
    name = f"long-{wire}-larger"
    gateway.upstream.set_script(name, *[context_window(wire)] * 8)
    for _ in range(8):
        await ask(client, name, "long", is_stream=False, within_s=BOUND_S)
    gateway.upstream.set_script(name, GOOD)

    received = await ask(client, name, "short", is_stream=False, within_s=BOUND_S)

    assert received.outcome == "answer"


@every_wire
async def test_what_is_refused_goes_to_the_chain_for_that(
    gateway: Gateway, client: httpx2.AsyncClient, wire: str
) -> None:
    gateway.upstream.set_script(f"policed-{wire}", content_policy(wire))

    received = await ask(client, f"policed-{wire}", "refused", is_stream=False, within_s=BOUND_S)

    assert received.outcome == "answer"
    assert received.headers["x-litellm-model-id"] == f"policed-{wire}-liberal"
    assert len(gateway.upstream.seen_by(f"policed-{wire}")) == 1
    assert gateway.upstream.seen_by(f"policed-{wire}-second") == []
