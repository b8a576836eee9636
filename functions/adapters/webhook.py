"""Budget alerts to a webhook, such as n8n's."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import orjson

from events.budget import ThresholdCrossed
from functions.gateway.alerts import alert_payload
from functions.gateway.ports import AlertNotDelivered, AlertWebhook

_TIMEOUT = httpx2.Timeout(10, connect=5)
_log = logging.getLogger(__name__)


class HttpAlertWebhook:
    """`AlertWebhook` by `POST`. The URL is a secret, so no message shows it."""

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def send(self, alert: ThresholdCrossed) -> None:
        """Send it under its idempotency key."""
        headers = {
            "content-type": "application/json",
            "user-agent": "litellm-gateway",
            "idempotency-key": alert.event_id,
        }
        body = orjson.dumps(alert_payload(alert))
        try:
            answer = await self._client.post(self._url, content=body, headers=headers)
        except httpx2.HTTPError as error:
            raise AlertNotDelivered(f"the webhook can't be reached: {type(error).__name__}") from None
        if not answer.is_success:
            raise AlertNotDelivered(f"the webhook answered {answer.status_code}")


class LogAlertWebhook:
    """`AlertWebhook` for where none is configured: one line in the log."""

    async def send(self, alert: ThresholdCrossed) -> None:
        """Log it."""
        _log.warning("ALERT_WEBHOOK_URL is not set; the alert is: %s", orjson.dumps(alert_payload(alert)).decode())


@asynccontextmanager
async def open_webhook(url: str | None) -> AsyncGenerator[AlertWebhook]:
    """Open the webhook's connections."""
    if url is None:
        yield LogAlertWebhook()
        return
    async with httpx2.AsyncClient(timeout=_TIMEOUT, follow_redirects=False) as client:
        yield HttpAlertWebhook(client, url)
