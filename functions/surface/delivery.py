"""Pub/Sub messages as Eventarc delivers them: CloudEvents of type `google.cloud.pubsub.topic.v1.messagePublished`.

Source: https://cloud.google.com/eventarc/docs/cloudevents#pubsub
"""

import base64
import json

from cloudevents.http import CloudEvent

_MOST_KEPT_BYTES = 5_000_000  # Pub/Sub takes 10 MB


class UndecodableDelivery(ValueError):
    """There is no message in this CloudEvent; the message says what is missing."""


def message_data(delivery: CloudEvent) -> bytes:
    """Give the published bytes. Raises `UndecodableDelivery`."""
    try:
        encoded = delivery.data["message"].get("data", "")
    except (KeyError, TypeError, AttributeError) as error:
        raise UndecodableDelivery("the CloudEvent's data has no 'message' object") from error
    try:
        return base64.b64decode(encoded, validate=True)
    except (TypeError, ValueError) as error:
        raise UndecodableDelivery("'message.data' is not base64") from error


def kept_data(delivery: CloudEvent) -> bytes:
    """Give what is worth keeping of a delivery that can't be handled: the published bytes, or all there is."""
    try:
        return message_data(delivery)[:_MOST_KEPT_BYTES]
    except UndecodableDelivery:
        body = delivery.data
        return (body if isinstance(body, bytes) else json.dumps(body, default=str).encode())[:_MOST_KEPT_BYTES]
