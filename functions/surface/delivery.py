"""Pub/Sub messages as Eventarc delivers them: CloudEvents of type `google.cloud.pubsub.topic.v1.messagePublished`.

Source: https://cloud.google.com/eventarc/docs/cloudevents#pubsub
"""

import base64
import json
from typing import Any

from cloudevents.http import CloudEvent


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


def raw_data(delivery: CloudEvent) -> bytes:
    """Give whatever was delivered, for keeping."""
    body: Any = delivery.data
    if isinstance(body, bytes):
        return body
    return json.dumps(body, default=str).encode()
