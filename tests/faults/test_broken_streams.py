"""A stream that breaks off is gone on with by the next model, or ends with an error; a slow one is not waited for."""

from collections.abc import AsyncGenerator, Generator

import httpx2
import pytest

from tests.faults.behaviour import GOOD, Behaviour
from tests.faults.client import ask
from tests.faults.control import FaultyUpstream, billed_cost
from tests.faults.gateway import Deployed, Gateway, running_gateway
from tests.faults.wires import WIRES, right_answer

BOUND_S = 15
SAMPLES = 30  # of a deployment's time to its first content, before a percentile says anything
every_wire = pytest.mark.parametrize("wire", WIRES)


@pytest.fixture(scope="module")
def other(upstream: FaultyUpstream, tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway that doesn't go on with streams, and that hedges."""
    names = [f"ending-{wire}" for wire in WIRES]
    deployments = [Deployed(name=name, wire=wire) for name, wire in zip(names, WIRES, strict=True)]
    deployments += [Deployed(name=name) for name in ("untouched", "hedged", "hedged-second")]
    with running_gateway(
        tmp_path_factory.mktemp("other"),
        upstream,
        deployments,
        chains={**{name: ["untouched"] for name in names}, "hedged": ["hedged-second"]},
        router={"continue_streams": False, "hedge_percentile": 90},
    ) as started:
        yield started


@pytest.fixture
async def client_of_other(other: Gateway) -> AsyncGenerator[httpx2.AsyncClient]:
    async with other.client() as opened:
        yield opened


@every_wire
@pytest.mark.parametrize("repeated_words", [0, 4])
async def test_the_next_model_goes_on_where_the_first_broke_off(
    gateway: Gateway, client: httpx2.AsyncClient, wire: str, repeated_words: int
) -> None:
    call_id = f"going-on-{wire}-{repeated_words}"
    gateway.upstream.set_script(f"broken-{wire}", Behaviour(cut_after=9, ending="reset"))
    gateway.upstream.set_script(f"going-on-{wire}", Behaviour(repeated_words=repeated_words))

    received = await ask(client, f"broken-{wire}", call_id, is_stream=True, within_s=BOUND_S, call_id=call_id)

    assert (received.outcome, received.text) == ("answer", right_answer(call_id))
    told = [seen.said for seen in gateway.upstream.seen_by(f"going-on-{wire}") if seen.prompt == call_id]
    assert told == [" ".join(right_answer(call_id).split(" ")[:9])]


@every_wire
async def test_both_parts_of_a_stream_that_was_gone_on_with_are_billed(
    gateway: Gateway, client: httpx2.AsyncClient, wire: str
) -> None:
    call_id = f"both-billed-{wire}"
    gateway.upstream.set_script(f"broken-{wire}", Behaviour(cut_after=9, ending="end"))
    gateway.upstream.set_script(f"going-on-{wire}", GOOD)

    await ask(client, f"broken-{wire}", call_id, is_stream=True, within_s=BOUND_S, call_id=call_id)

    (recorded,) = gateway.recorded()[call_id]
    everywhere = [seen for deployment in gateway.upstream.seen().values() for seen in deployment]
    parts = [billed_cost(seen) for seen in everywhere if seen.prompt == call_id]
    assert len(parts) == 2
    assert recorded.cost == pytest.approx(sum(parts), rel=0.1)


@every_wire
async def test_where_streams_are_not_gone_on_with_the_client_is_told(
    other: Gateway, client_of_other: httpx2.AsyncClient, wire: str
) -> None:
    other.upstream.set_script(f"ending-{wire}", Behaviour(cut_after=9, ending="reset"))

    received = await ask(client_of_other, f"ending-{wire}", "x", is_stream=True, within_s=BOUND_S)

    assert (received.status, received.outcome) == (200, "error")
    assert right_answer("x").startswith(received.text)
    assert other.upstream.seen_by("untouched") == []


async def test_a_first_token_that_is_late_for_its_deployment_is_hedged(
    other: Gateway, client_of_other: httpx2.AsyncClient
) -> None:
    for _ in range(SAMPLES):
        await ask(client_of_other, "hedged", "x", is_stream=True, within_s=BOUND_S)
    other.upstream.set_script("hedged", Behaviour(wait_s=5))

    received = await ask(client_of_other, "hedged", "x", is_stream=True, within_s=BOUND_S)

    assert (received.outcome, received.seconds < 3) == ("answer", True)
    assert received.headers["x-litellm-model-id"] == "hedged-second"
    assert other.upstream.seen_by("hedged")[-1].outcome == "left"
