"""What becomes of an outage: no storm, no traffic to who is down, and back to it soon after."""

import asyncio
import time
from collections.abc import Sequence

import httpx2
import pytest

from tests.faults.behaviour import GOOD, Behaviour
from tests.faults.client import Received, ask
from tests.faults.faults import refusing
from tests.faults.gateway import Gateway
from tests.faults.scenarios import LOADS
from tests.faults.upstream import Seen
from tests.faults.wires import WIRES

BOUND_S = 15
DOWN_S = 1.5
RECOVERY_S = 5
NO_HINT = "The rate limit was reached."


async def under_load(
    client: httpx2.AsyncClient, alias: str, *, requests: int, at_once: int, is_stream: bool = False
) -> list[Received]:
    """Ask many times, so many at once."""
    places = asyncio.Semaphore(at_once)

    async def one(number: int) -> Received:
        async with places:
            return await ask(client, alias, f"load-{number}", is_stream=is_stream, within_s=BOUND_S)

    return list(await asyncio.gather(*(one(number) for number in range(requests))))


def most_at_once(seen: Sequence[Seen]) -> int:
    """Say how many requests an upstream had at the same time."""
    now = time.monotonic()
    changes = sorted(
        [(entry.began, 1) for entry in seen] + [(now if entry.ended is None else entry.ended, -1) for entry in seen]
    )
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


async def test_persistent_429s_everywhere_end_within_three_seconds_and_four_attempts(
    gateway: Gateway, client: httpx2.AsyncClient
) -> None:
    names = [f"limited-{wire}" for wire in WIRES]
    gateway.upstream.set_scripts({name: [refusing(name[8:], 429, NO_HINT)] for name in names})

    received = await ask(client, "limited-openai", "x", is_stream=False, within_s=BOUND_S)

    seen = gateway.upstream.seen()
    assert (received.outcome, received.seconds < 3) == ("error", True)
    assert 3 <= sum(len(seen[name]) for name in names) <= 4


async def test_a_whole_group_that_is_limited_is_not_stormed(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    names = [f"pool-{number}" for number in range(3)]
    gateway.upstream.set_scripts({name: [refusing("openai", 429, NO_HINT)] for name in names})

    received = await ask(client, "pool", "x", is_stream=True, within_s=BOUND_S)

    seen = gateway.upstream.seen()
    assert (received.outcome, received.seconds < 3) == ("error", True)
    assert 3 <= sum(len(seen[name]) for name in names) <= 4


@pytest.mark.parametrize("status", LOADS)
async def test_an_outage_under_load_multiplies_no_traffic(
    gateway: Gateway, client: httpx2.AsyncClient, status: str
) -> None:
    alias, requests = f"outage-{status}", 200
    gateway.upstream.set_script(alias, refusing("anthropic", int(status)))

    first_half = await under_load(client, alias, requests=requests // 2, at_once=16)
    asked_before = len(gateway.upstream.seen_by(alias))
    second_half = await under_load(client, alias, requests=requests // 2, at_once=16)

    assert {received.outcome for received in (*first_half, *second_half)} == {"answer"}
    asked = len(gateway.upstream.seen_by(alias))
    assert asked <= 1.2 * requests
    assert asked - asked_before <= 5, "it is still asked after it was to be rested"
    assert len(gateway.upstream.seen_by(f"{alias}-second")) == requests


async def test_half_open_sends_one_probe_at_a_time(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    gateway.upstream.set_script("probed", Behaviour(status=500, body="", wait_s=0.3))
    await under_load(client, "probed", requests=30, at_once=10)
    opened = time.monotonic()

    while time.monotonic() < opened + 4:
        await under_load(client, "probed", requests=10, at_once=10)

    probes = [seen for seen in gateway.upstream.seen_by("probed") if seen.began > opened]
    assert 1 <= len(probes) <= 3
    assert most_at_once(probes) == 1


async def test_a_deployment_that_recovers_is_soon_used_again(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    gateway.upstream.set_script("flapping", Behaviour(name="down", status=503, body="", lasts_s=DOWN_S), GOOD)
    started = time.monotonic()

    while (received := await ask(client, "flapping", "x", is_stream=False, within_s=BOUND_S)).outcome == "answer":
        if received.headers["x-litellm-model-id"] == "flapping":
            break
        assert time.monotonic() < started + DOWN_S + RECOVERY_S

    assert received.outcome == "answer"
    down = [seen for seen in gateway.upstream.seen_by("flapping") if seen.behaviour == "down"]
    assert len(down) <= 10


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_connection_that_was_closed_while_idle_costs_nobody_an_answer(
    gateway: Gateway, client: httpx2.AsyncClient, is_stream: bool
) -> None:
    gateway.upstream.set_script("closing", Behaviour(closes_after=True))

    answers = [await ask(client, "closing", "x", is_stream=is_stream, within_s=BOUND_S) for _ in range(20)]

    assert {received.outcome for received in answers} == {"answer"}
