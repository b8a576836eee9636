"""What an answer's headers tell of its key."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from events.money import NanoUsd, nano_usd
from events.spend import Scopes
from functions.gateway.errors import StoreUnavailable
from functions.gateway.keys import Keyring
from functions.gateway.ports import Accounts
from tests.builders import NOON, key, spend
from tests.functions.instances import MASTER, Clock, Gateway, hash_of, open_instance
from tests.functions.stand_ins import CountedKeys

OF_LIMITS = [f"x-litellm-key-{name}" for name in ("max-budget", "rpm-limit", "tpm-limit")]
SPEND = "x-litellm-key-spend"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def gateway(tmp_path: Path, clock: Clock) -> AsyncGenerator[Gateway]:
    async with AsyncExitStack() as stack:
        yield await open_instance(stack, tmp_path, clock, MASTER)


async def spent(gateway: Gateway, key: str, usd: float) -> None:
    await gateway.stores.ledger.commit(
        [spend(f"{key}{usd}", cost=nano_usd(usd), scopes=Scopes(key_hash=hash_of(key)))], {}
    )


async def test_an_answer_tells_what_its_key_has_spent_with_itself(gateway: Gateway, clock: Clock) -> None:
    key = await gateway.make()
    await spent(gateway, key, 1)

    answer = await gateway.chat(key)
    cost = float(answer.headers["x-litellm-response-cost"])
    assert cost > 0
    assert float(answer.headers[SPEND]) == pytest.approx(1 + cost)

    await spent(gateway, key, 2)
    clock.passed_s += 3
    assert float((await gateway.chat(key)).headers[SPEND]) == pytest.approx(3 + cost)
    assert (await gateway.chat(key, stream=True)).headers[SPEND] == "3.000000000"


async def test_embeddings_tell_of_their_key_too(gateway: Gateway) -> None:
    key = await gateway.make(rpm_limit=7)

    answer = await gateway.post("/v1/embeddings", by=key, model="small", input="x")

    assert answer.headers[SPEND] == answer.headers["x-litellm-response-cost"]
    assert answer.headers["x-litellm-key-rpm-limit"] == "7"


async def test_an_answer_tells_the_limits_that_its_key_has(gateway: Gateway) -> None:
    limited = await gateway.make(max_budget=0.5, rpm_limit=10, tpm_limit=0)
    free = await gateway.make()

    told = (await gateway.chat(limited)).headers
    assert [told[name] for name in OF_LIMITS] == ["0.500000000", "10", "0"]
    assert not {*(await gateway.chat(free)).headers} & {*OF_LIMITS}
    assert not {*(await gateway.chat(MASTER)).headers} & {*OF_LIMITS, SPEND}


async def test_a_replaced_key_goes_on_with_its_spend(gateway: Gateway) -> None:
    old = await gateway.make()
    await spent(gateway, old, 1)
    new = (await gateway.post("/key/regenerate", key=old)).json()["key"]

    assert (await gateway.chat(new, stream=True)).headers[SPEND] == "1.000000000"


class Reading:
    """A keyring with one key, whose spend is read as `spend` says."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.readings = 0
        self.failure: Exception | None = None
        self.asked = asyncio.Event()
        self.keys = CountedKeys()
        self.keys.put(key("a", key_hash=hash_of("sk-of-ada")))
        self.keyring = Keyring(
            self.keys,
            cast("Accounts", None),
            MASTER,
            now=lambda: NOON,
            clock=lambda: self.passed_s,
            read_spend=self.spend,
        )

    async def spend(self, key_id: str) -> NanoUsd:
        self.readings += 1
        self.asked.set()
        if self.failure:
            raise self.failure
        return NanoUsd(self.readings)

    async def identity(self) -> Any:
        return await self.keyring.authenticate({"x-api-key": "sk-of-ada"}, "/v1/models")


async def test_what_a_key_has_spent_is_read_once_in_a_few_seconds() -> None:
    reading = Reading()
    assert [(await reading.identity()).spent for _ in range(3)] == [1, 1, 1]

    reading.passed_s = 2.9
    assert (await reading.identity()).spent == 1
    reading.passed_s = 3
    assert (await reading.identity()).spent == 2


async def test_it_is_read_beside_the_key_not_after_it() -> None:
    reading = Reading()
    await reading.identity()
    reading.passed_s = 4
    reading.asked.clear()
    reading.keys.open.clear()

    again = asyncio.create_task(reading.identity())
    await asyncio.wait_for(reading.asked.wait(), 5)  # with the key's reading still under way
    reading.keys.open.set()

    assert (await again).spent == 2


async def test_a_spend_that_can_not_be_read_is_unknown_for_a_while_and_lets_the_key_in() -> None:
    reading = Reading()
    reading.failure = StoreUnavailable("the store is down")

    assert [(await reading.identity()).spent for _ in range(3)] == [None, None, None]
    assert reading.readings == 1
    reading.failure, reading.passed_s = None, 4
    assert (await reading.identity()).spent == 2
