"""`Bus` and `Subscription`, on both backends."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from events.codec import decode, encode
from functions.adapters.embedded.bus import DeadLetter, SqliteBus
from functions.gateway.ports import SPEND_EVENTS, TOPICS, Delivery, Subscription
from tests.builders import spend
from tests.contract.conftest import Backend

_PATIENCE_S = 15


async def take_until(subscription: Subscription, wanted: int) -> list[Delivery]:
    """Take until so many have come; what came is not acknowledged."""
    got: list[Delivery] = []
    until = time.monotonic() + _PATIENCE_S
    while len(got) < wanted and time.monotonic() < until:
        got += await subscription.take(100)
    return got


async def eventually(ask: Callable[[], Awaitable[bool]]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not await ask():
        assert time.monotonic() < until


async def test_what_is_published_is_delivered(backend: Backend) -> None:
    await backend.stores.bus.publish(SPEND_EVENTS, spend("a"))

    (delivery,) = await take_until(backend.subscription(SPEND_EVENTS), 1)

    assert decode(delivery.data) == spend("a")
    assert delivery.topic == SPEND_EVENTS
    assert delivery.published_at.tzinfo is not None


async def test_many_publications_at_once_all_arrive(backend: Backend) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(60):
            tasks.create_task(backend.stores.bus.publish(SPEND_EVENTS, spend(f"e-{number}")))

    deliveries = await take_until(backend.subscription(SPEND_EVENTS), 60)

    assert {decode(delivery.data).event_id for delivery in deliveries} == {f"e-{number}" for number in range(60)}


async def test_what_is_acknowledged_never_comes_again(backend: Backend) -> None:
    subscription = backend.subscription(SPEND_EVENTS)
    for event_id in ("a", "b"):
        await backend.stores.bus.publish(SPEND_EVENTS, spend(event_id))
    deliveries = {decode(delivery.data).event_id: delivery for delivery in await take_until(subscription, 2)}

    await subscription.acknowledge(deliveries["a"])
    await subscription.retry_later(deliveries["b"], delay_s=0)

    again = await take_until(subscription, 1)
    assert [decode(delivery.data).event_id for delivery in again] == ["b"]


async def test_one_topic_does_not_hear_another(backend: Backend) -> None:
    await backend.stores.bus.publish(TOPICS[0], spend("a"))

    assert await backend.subscription(TOPICS[1]).take(10) == []


async def test_taking_from_an_empty_topic_gives_nothing(backend: Backend) -> None:
    assert await backend.subscription(SPEND_EVENTS).take(10) == []


async def test_a_delivery_that_is_given_up_never_comes_again(backend: Backend) -> None:
    subscription = backend.subscription(SPEND_EVENTS)
    await backend.stores.bus.publish(SPEND_EVENTS, spend("a"))
    (delivery,) = await take_until(subscription, 1)

    await subscription.dead_letter(delivery, reason="tried in vain")

    assert await subscription.take(10) == []


async def test_dead_letters_keep_what_they_were_and_why(backend: Backend) -> None:
    await backend.stores.bus.dead_letter(SPEND_EVENTS, b"{nonsense", reason="not JSON")

    if isinstance(backend.stores.bus, SqliteBus):
        kept = await backend.stores.bus.dead_letters(SPEND_EVENTS)
        assert kept == [DeadLetter(SPEND_EVENTS, b"{nonsense", "not JSON")]
    else:
        (delivery,) = await take_until(backend.subscription(f"{SPEND_EVENTS}-dead-letter"), 1)
        assert delivery.data == b"{nonsense"


async def test_a_lease_that_runs_out_delivers_again(backend: Backend) -> None:
    if not isinstance(backend.stores.bus, SqliteBus):
        return  # the emulator's lease is a minute long, and Google's own to test
    subscription = backend.subscription(SPEND_EVENTS)
    await backend.stores.bus.publish(SPEND_EVENTS, spend("a"))

    first = await take_until(subscription, 1)
    second = await take_until(subscription, 1)

    assert [delivery.attempt for delivery in (*first, *second)] == [1, 2]
    assert second[0].data == encode(spend("a"))


async def test_two_takers_share_what_there_is(backend: Backend) -> None:
    for number in range(20):
        await backend.stores.bus.publish(SPEND_EVENTS, spend(f"e-{number}"))
    takers = [backend.subscription(SPEND_EVENTS), backend.subscription(SPEND_EVENTS)]

    got = await asyncio.gather(*(taker.take(15) for taker in takers))

    taken = [delivery.message_id for deliveries in got for delivery in deliveries]
    assert len(taken) == len(set(taken))
