"""Pub/Sub entry for `spend-events`: events become ledger, counters and alerts."""

import functions_framework.aio
from cloudevents.http import CloudEvent

from events.accounts import AccountEvent
from events.alerts import Alert
from events.codec import UndecodableEvent, decode
from events.keys import KeyEvent
from functions import bootstrap
from functions.gateway.errors import Unstorable
from functions.gateway.ports import SPEND_EVENTS
from functions.surface.delivery import UndecodableDelivery, kept_data, message_data


@functions_framework.aio.cloud_event
async def fold_spend(delivery: CloudEvent) -> None:
    """Fold one delivery, together with those in flight. Returning acknowledges it; raising asks for it again."""
    instance = await bootstrap.fold_instance.get()
    try:
        event = decode(message_data(delivery))
        if isinstance(event, Alert | KeyEvent | AccountEvent):  # a change is recorded with what it changes
            raise UndecodableEvent(f"{event.type} is nothing to fold")
        await instance.folder.fold(event)
    except (UndecodableDelivery, UndecodableEvent, Unstorable) as error:
        await instance.bus.dead_letter(SPEND_EVENTS, kept_data(delivery), reason=str(error))
