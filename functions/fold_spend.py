"""Pub/Sub entry for `spend-events`: events become ledger, counters and alerts."""

import functions_framework.aio
from cloudevents.http import CloudEvent

from events.codec import UndecodableEvent, decode
from functions import bootstrap
from functions.gateway.ports import SPEND_EVENTS
from functions.surface.delivery import UndecodableDelivery, message_data, raw_data


@functions_framework.aio.cloud_event
async def fold_spend(delivery: CloudEvent) -> None:
    """Fold one delivery, together with those in flight. Returning acknowledges it; raising asks for it again."""
    instance = await bootstrap.fold_instance.get()
    try:
        event = decode(message_data(delivery))
    except (UndecodableDelivery, UndecodableEvent) as error:
        await instance.bus.dead_letter(SPEND_EVENTS, raw_data(delivery), reason=str(error))
        return
    await instance.folder.fold(event)
