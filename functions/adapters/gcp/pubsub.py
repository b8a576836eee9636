"""Topics on Pub/Sub, by its asynchronous clients."""

# Google's libraries leave parts of their types open.
# pyright: reportUnknownMemberType=false

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import grpc.aio
from google.api_core.exceptions import AlreadyExists, DeadlineExceeded
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.pubsub_v1.types import DeadLetterPolicy, PubsubMessage, ReceivedMessage
from google.pubsub_v1.types import Subscription as PubSubSubscriptionResource

from events.codec import Event, encode
from functions.adapters.gcp.failures import CALL_S, RETRY, store_failures
from functions.gateway.ports import TOPICS, Delivery

_LONGEST_REASON_BYTES = 1024  # a Pub/Sub attribute's limit
_LONGEST_DELAY_S = 600  # an acknowledgement deadline's limit
_ACK_DEADLINE_S = 60
_DELIVERY_ATTEMPTS = 100
_RETENTION_S = 7 * 86_400
_PULL_S = 1.0


class PubSubBus:
    """`Bus`."""

    def __init__(self, publisher: PublisherAsyncClient, project: str) -> None:
        self._publisher = publisher
        self._project = project

    async def publish(self, topic: str, event: Event) -> None:
        """Return once Pub/Sub has acknowledged it."""
        message = PubsubMessage(data=encode(event), attributes={"type": event.type})
        await self._publish(topic, message)

    async def dead_letter(self, topic: str, data: bytes, *, reason: str) -> None:
        """Publish it to the topic's dead letters, with its reason."""
        shortened = reason.encode()[:_LONGEST_REASON_BYTES].decode(errors="ignore")
        await self._publish(dead_letter_topic(topic), PubsubMessage(data=data, attributes={"reason": shortened}))

    async def _publish(self, topic: str, message: PubsubMessage) -> None:
        with store_failures():
            await self._publisher.publish(
                topic=topic_path(self._project, topic), messages=[message], retry=RETRY, timeout=CALL_S
            )


class PubSubSubscription:
    """`Subscription`, for where no Eventarc delivers."""

    def __init__(self, subscriber: SubscriberAsyncClient, bus: PubSubBus, project: str, topic: str) -> None:
        self._subscriber = subscriber
        self._bus = bus
        self._topic = topic
        self._path = subscription_path(project, topic)

    async def take(self, limit: int) -> list[Delivery]:
        """Pull what is there, waiting up to a second."""
        with store_failures(), suppress(DeadlineExceeded):
            pulled = await self._subscriber.pull(
                subscription=self._path, max_messages=limit, retry=None, timeout=_PULL_S
            )
            return [self._delivery(received) for received in pulled.received_messages]
        return []

    async def acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge it."""
        with store_failures():
            await self._subscriber.acknowledge(
                subscription=self._path, ack_ids=[delivery.token], retry=RETRY, timeout=CALL_S
            )

    async def retry_later(self, delivery: Delivery, *, delay_s: float) -> None:
        """Let its lease run out after the delay, in whole seconds."""
        with store_failures():
            await self._subscriber.modify_ack_deadline(
                subscription=self._path,
                ack_ids=[delivery.token],
                ack_deadline_seconds=min(math.ceil(delay_s), _LONGEST_DELAY_S),
                retry=RETRY,
                timeout=CALL_S,
            )

    async def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        """Publish it to the dead letters, and acknowledge it."""
        await self._bus.dead_letter(self._topic, delivery.data, reason=reason)
        await self.acknowledge(delivery)

    def _delivery(self, received: ReceivedMessage) -> Delivery:
        message = received.message
        return Delivery(
            token=received.ack_id,
            message_id=message.message_id,
            topic=self._topic,
            data=message.data,
            attempt=received.delivery_attempt or 1,
            published_at=cast("Any", message.publish_time),
        )


def topic_path(project: str, topic: str) -> str:
    """Name a topic as Pub/Sub does."""
    return f"projects/{project}/topics/{topic}"


def subscription_path(project: str, topic: str) -> str:
    """Name a topic's one subscription as Pub/Sub does."""
    return f"projects/{project}/subscriptions/{topic}"


def dead_letter_topic(topic: str) -> str:
    """Name the topic that keeps what another could not get rid of."""
    return f"{topic}-dead-letter"


@asynccontextmanager
async def open_publisher(emulator_host: str | None) -> AsyncGenerator[PublisherAsyncClient]:
    """Open a publisher, of the cloud or of the emulator."""
    client = PublisherAsyncClient(transport=_publisher_transport(emulator_host))
    async with client:
        yield client


@asynccontextmanager
async def open_subscriber(emulator_host: str | None) -> AsyncGenerator[SubscriberAsyncClient]:
    """Open a subscriber, of the cloud or of the emulator."""
    client = SubscriberAsyncClient(transport=_subscriber_transport(emulator_host))
    async with client:
        yield client


async def ensure_topics(publisher: PublisherAsyncClient, subscriber: SubscriberAsyncClient, project: str) -> None:
    """Make the topics, their dead letters and a subscription to each, where they are missing: for an emulator."""
    for topic in TOPICS:
        for name in (dead_letter_topic(topic), topic):
            with store_failures(), suppress(AlreadyExists):
                await publisher.create_topic(name=topic_path(project, name), retry=RETRY, timeout=CALL_S)
        for subscription in (_keeping(project, topic), _delivering(project, topic)):
            with store_failures(), suppress(AlreadyExists):
                await subscriber.create_subscription(request=subscription, retry=RETRY, timeout=CALL_S)


def _delivering(project: str, topic: str) -> PubSubSubscriptionResource:
    """Describe the relay's subscription. Its back-off is the relay's own: the emulator's retry policy loses sight of
    messages for minutes (0.8.20, seen after three refusals of 200 messages)."""
    return PubSubSubscriptionResource(
        name=subscription_path(project, topic),
        topic=topic_path(project, topic),
        ack_deadline_seconds=_ACK_DEADLINE_S,
        message_retention_duration=Duration(seconds=_RETENTION_S),
        dead_letter_policy=DeadLetterPolicy(
            dead_letter_topic=topic_path(project, dead_letter_topic(topic)), max_delivery_attempts=_DELIVERY_ATTEMPTS
        ),
    )


def _keeping(project: str, topic: str) -> PubSubSubscriptionResource:
    name = dead_letter_topic(topic)
    return PubSubSubscriptionResource(
        name=subscription_path(project, name),
        topic=topic_path(project, name),
        message_retention_duration=Duration(seconds=_RETENTION_S),
    )


def _publisher_transport(emulator_host: str | None) -> Any:
    if emulator_host is None:
        return "grpc_asyncio"
    return PublisherGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(emulator_host))


def _subscriber_transport(emulator_host: str | None) -> Any:
    if emulator_host is None:
        return "grpc_asyncio"
    return SubscriberGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(emulator_host))
