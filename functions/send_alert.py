"""Pub/Sub entry for `budget-alerts`: an alert becomes one message to the webhook."""

import functions_framework.aio
from cloudevents.http import CloudEvent

from events.alerts import Alert
from events.codec import UndecodableEvent, decode
from functions import bootstrap
from functions.gateway.ports import BUDGET_ALERTS
from functions.surface.delivery import UndecodableDelivery, kept_data, message_data


@functions_framework.aio.cloud_event
async def send_alert(delivery: CloudEvent) -> None:
    """Send one alert, unless it was sent before. Returning acknowledges it; raising asks for it again."""
    instance = await bootstrap.alert_instance.get()
    try:
        event = decode(message_data(delivery))
        if not isinstance(event, Alert):
            raise UndecodableEvent(f"{event.type} is no alert")
    except (UndecodableDelivery, UndecodableEvent) as error:
        await instance.bus.dead_letter(BUDGET_ALERTS, kept_data(delivery), reason=str(error))
        return
    if not await instance.delivered.has(event.event_id):
        await instance.webhook.send(event)
        await instance.delivered.add(event.event_id)
