"""With the default settings too, a client waits for no silent upstream: the slow version of the table."""

import time
from collections.abc import AsyncGenerator, Generator

import httpx2
import pytest

from tests.faults.behaviour import GOOD, Behaviour
from tests.faults.client import ask
from tests.faults.control import FaultyUpstream, closed_port
from tests.faults.gateway import Deployed, Gateway, running_gateway
from tests.faults.table import ROWS, SECONDS, Result, chains_of, run_table

pytestmark = pytest.mark.slow

STREAM_BOUND_S = 45
OUTAGE_S = 50
RECOVERY_S = 30
WHOLE_BOUND_S = 320
ENDLESS = ("stall", "headers then stall", "drip for too long")  # for whole answers, which may take 5 minutes
PATIENT = [row for row in ROWS if row.mode == "stream" or row.fault.name not in ENDLESS]


@pytest.fixture(scope="module")
def default_gateway(upstream: FaultyUpstream, tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway that says nothing of timeouts."""
    names = ("slow-to-start", "stalling", "stalling-for-good", "down")
    deployments = [Deployed(name=name) for name in (*names, "good")]
    with (
        closed_port() as port,
        running_gateway(
            tmp_path_factory.mktemp("default"),
            upstream,
            [*deployments, *SECONDS, *(row.deployed(port) for row in PATIENT)],
            chains={**chains_of(PATIENT), "slow-to-start": ["good"], "stalling": ["good"], "down": ["good"]},
        ) as started,
    ):
        yield started


@pytest.fixture
async def patient(default_gateway: Gateway) -> AsyncGenerator[httpx2.AsyncClient]:
    async with default_gateway.client() as opened:
        yield opened


async def test_a_first_token_that_takes_twenty_seconds_is_not_waited_for(
    default_gateway: Gateway, patient: httpx2.AsyncClient
) -> None:
    default_gateway.upstream.set_script("slow-to-start", Behaviour(first_pause_s=20))

    received = await ask(patient, "slow-to-start", "x", is_stream=True, within_s=60)

    assert received.outcome == "answer"
    assert received.headers["x-litellm-model-id"] == "good"
    assert received.seconds < 15


@pytest.mark.parametrize("alias", ["stalling", "stalling-for-good"])
async def test_a_stream_that_stalls_ends_within_45_seconds(
    default_gateway: Gateway, patient: httpx2.AsyncClient, alias: str
) -> None:
    default_gateway.upstream.set_script(alias, Behaviour(cut_after=5, ending="stall"), GOOD)

    received = await ask(patient, alias, "x", is_stream=True, within_s=STREAM_BOUND_S)

    assert received.outcome in ("answer", "error")
    assert received.seconds < STREAM_BOUND_S


async def test_after_a_long_outage_a_deployment_is_used_again_within_thirty_seconds(
    default_gateway: Gateway, patient: httpx2.AsyncClient
) -> None:
    default_gateway.upstream.set_script("down", Behaviour(name="down", status=503, body="", lasts_s=OUTAGE_S), GOOD)
    ends = time.monotonic() + OUTAGE_S + RECOVERY_S

    while (received := await ask(patient, "down", "x", is_stream=False, within_s=60)).outcome == "answer":
        if received.headers["x-litellm-model-id"] == "down":
            break
        assert time.monotonic() < ends

    assert received.outcome == "answer"
    asked = [seen for seen in default_gateway.upstream.seen_by("down") if seen.behaviour == "down"]
    assert len(asked) < 20


def test_nobody_waits_longer_than_a_stream_may_take(default_gateway: Gateway, tables: dict[str, list[Result]]) -> None:
    tables["faults, with the default settings"] = run_table(default_gateway, PATIENT, within_s=WHOLE_BOUND_S)

    results = tables["faults, with the default settings"]
    wrong = [str(result.row) for result in results if result.received.outcome not in result.row.allowed]
    slow = [str(result.row) for result in results if result.received.seconds > STREAM_BOUND_S]
    assert not wrong, "\n".join(wrong)
    assert not slow, "\n".join(slow)
