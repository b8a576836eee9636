"""`python -m infra.local.relay FOLD_URL ALERT_URL`: what Eventarc is in Google Cloud.

Takes from the topics, posts each message as a CloudEvent, acknowledges on 2xx, and otherwise has it come again later.
Once a minute it publishes the Scheduler's tick.
"""

import asyncio
import base64
import logging
import random
import sys
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from events.tick import Ticked
from functions.adapters.embedded.bus import SqliteBus, SqliteSubscription
from functions.adapters.embedded.stores import open_bus_file
from functions.bootstrap import Environment, read_environment
from functions.gateway.errors import StoreUnavailable
from functions.gateway.ports import BUDGET_ALERTS, SPEND_EVENTS, TOPICS, Bus, Delivery, Subscription

_AT_ONCE = 200
_TAKE = 100
_GIVE_UP_AFTER = timedelta(days=7)  # as long as Pub/Sub keeps a message
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 120
_TIMEOUT = httpx2.Timeout(60, connect=5)
_LEASE_S = 90  # longer than a delivery may take
_TICK_S = 60
_REST_S = 1
_log = logging.getLogger("relay")


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of the bus."""

    bus: Bus
    subscriptions: Mapping[str, Subscription]
    project: str


class Relay:
    """Delivers one topic to one function."""

    def __init__(self, subscription: Subscription, client: httpx2.AsyncClient, url: str, project: str) -> None:
        self._subscription = subscription
        self._client = client
        self._url = url
        self._project = project
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Deliver until cancelled; a store that is down is asked again a second later."""
        async with asyncio.TaskGroup() as deliveries:
            while True:
                try:
                    taken = await self._subscription.take(_TAKE)
                except StoreUnavailable as error:
                    _log.warning("%s", error)
                    await asyncio.sleep(_REST_S)
                    continue
                for delivery in taken:
                    await self._free.acquire()
                    deliveries.create_task(self._deliver(delivery))

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._settle(delivery, await self._post(delivery))
        except StoreUnavailable as error:
            _log.warning("%s", error)  # its lease runs out, and it comes again
        finally:
            self._free.release()

    async def _settle(self, delivery: Delivery, refusal: str | None) -> None:
        if refusal is None:
            await self._subscription.acknowledge(delivery)
        elif datetime.now(UTC) - delivery.published_at > _GIVE_UP_AFTER:
            await self._subscription.dead_letter(delivery, reason=f"{delivery.attempt} attempts, the last: {refusal}")
        else:
            _log.info("%s %s: %s", delivery.topic, delivery.message_id, refusal)
            await self._subscription.retry_later(delivery, delay_s=delay_s(delivery.attempt))

    async def _post(self, delivery: Delivery) -> str | None:
        """Give nothing when it was taken, and otherwise why not."""
        headers, body = cloud_event(delivery, self._project)
        try:
            answer = await self._client.post(self._url, json=body, headers=headers)
        except httpx2.HTTPError as error:
            return type(error).__name__
        return None if answer.is_success else f"HTTP {answer.status_code}"


def delay_s(attempt: int) -> float:
    """Say how long to wait after the n-th attempt: doubling, bounded, jittered."""
    longest = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** min(attempt - 1, 20))
    return longest * random.uniform(0.5, 1)  # noqa: S311 (no secret)


def cloud_event(delivery: Delivery, project: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Give headers and body as Eventarc posts them: a CloudEvent in binary mode around a Pub/Sub message.

    Source: https://cloud.google.com/eventarc/docs/cloudevents#pubsub
    """
    published_at = delivery.published_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    headers = {
        "ce-id": delivery.message_id,
        "ce-source": f"//pubsub.googleapis.com/projects/{project}/topics/{delivery.topic}",
        "ce-specversion": "1.0",
        "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
        "ce-time": published_at,
    }
    message: dict[str, Any] = {
        "data": base64.b64encode(delivery.data).decode(),
        "attributes": {},
        "messageId": delivery.message_id,
        "message_id": delivery.message_id,
        "publishTime": published_at,
        "publish_time": published_at,
    }
    return headers, {"message": message, "subscription": f"projects/{project}/subscriptions/{delivery.topic}"}


async def tick(bus: Bus) -> None:
    """Publish the Scheduler's tick, once a minute."""
    while True:
        await asyncio.sleep(_TICK_S)
        try:
            await bus.publish(SPEND_EVENTS, Ticked(event_id=str(uuid.uuid4()), time=datetime.now(UTC)))
        except StoreUnavailable as error:
            _log.warning("%s", error)


@asynccontextmanager
async def open_ends(environment: Environment) -> AsyncGenerator[Ends]:
    """Open the bus that the environment names; on an emulator the topics are made."""
    if environment.gateway_backend == "embedded":
        async with open_bus_file(environment.state_dir, is_durable=False) as file:
            subscriptions = {topic: SqliteSubscription(file, topic, lease_s=_LEASE_S) for topic in TOPICS}
            for subscription in subscriptions.values():
                await subscription.release()
            yield Ends(SqliteBus(file), subscriptions, "local")
        return
    from functions.adapters.gcp.pubsub import (
        PubSubBus,
        PubSubSubscription,
        ensure_topics,
        open_publisher,
        open_subscriber,
    )

    project, emulator = environment.google_cloud_project or "", environment.pubsub_emulator_host
    async with open_publisher(emulator) as publisher, open_subscriber(emulator) as subscriber:
        await ensure_topics(publisher, subscriber, project)
        bus = PubSubBus(publisher, project)
        yield Ends(bus, {topic: PubSubSubscription(subscriber, bus, project, topic) for topic in TOPICS}, project)


async def main(fold_url: str, alert_url: str) -> None:
    """Relay until the process is stopped."""
    urls = {SPEND_EVENTS: fold_url, BUDGET_ALERTS: alert_url}
    limits = httpx2.Limits(max_connections=2 * _AT_ONCE, max_keepalive_connections=50)
    async with (
        open_ends(read_environment()) as ends,
        httpx2.AsyncClient(timeout=_TIMEOUT, limits=limits) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for topic, url in urls.items():
            tasks.create_task(Relay(ends.subscriptions[topic], client, url, ends.project).run())
        tasks.create_task(tick(ends.bus))
        print("relaying", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    asyncio.run(main(*sys.argv[1:]))
