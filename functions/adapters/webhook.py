"""Alerts to a webhook, such as n8n's."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import orjson

from events.alerts import Alert
from functions.gateway.alerts import alert_payload
from functions.gateway.ports import AlertNotDelivered, AlertWebhook

_SEND_WITHIN_S = 15  # well before whoever delivers the event gives up on it
_CONNECT_S = 5
_log = logging.getLogger(__name__)


class HttpAlertWebhook:
    """`AlertWebhook` by `POST`. The URL is a secret, so no message shows it."""

    def __init__(self, client: httpx2.AsyncClient, url: str, *, within_s: float) -> None:
        self._client = client
        self._url = url
        self._within_s = within_s

    async def send(self, alert: Alert) -> None:
        """Send it under its idempotency key. The answer is its status: a body is not read, however long it is."""
        headers = {
            "content-type": "application/json",
            "user-agent": "litellm-gateway",
            "idempotency-key": alert.event_id,
        }
        body = orjson.dumps(alert_payload(alert))
        try:
            async with (
                asyncio.timeout(self._within_s),
                self._client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                is_taken, status = answer.is_success, answer.status_code
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            raise AlertNotDelivered(f"the webhook can't be reached: {type(error).__name__}") from None
        if not is_taken:
            raise AlertNotDelivered(f"the webhook answered {status}")


class LogAlertWebhook:
    """`AlertWebhook` for where none is configured: one line in the log."""

    async def send(self, alert: Alert) -> None:
        """Log it."""
        _log.warning("ALERT_WEBHOOK_URL is not set; the alert is: %s", orjson.dumps(alert_payload(alert)).decode())


@asynccontextmanager
async def open_webhook(url: str | None, *, within_s: float = _SEND_WITHIN_S) -> AsyncGenerator[AlertWebhook]:
    """Open the webhook's connections. An alert is sent within `within_s`, or not delivered."""
    if url is None:
        yield LogAlertWebhook()
        return
    timeout = httpx2.Timeout(within_s, connect=_CONNECT_S)
    async with httpx2.AsyncClient(timeout=timeout, follow_redirects=False) as client:
        yield HttpAlertWebhook(client, url, within_s=within_s)
