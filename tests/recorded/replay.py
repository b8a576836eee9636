"""A provider that answers with a recording, behind the real SDKs: it stands in at the HTTP transport."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.recorded.exchanges import Exchange


@dataclass
class Received:
    """What an SDK sent."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any


@dataclass
class ReplayingProvider:
    """Answers every request with the exchange's recorded answer, and keeps what it was sent."""

    exchange: Exchange
    received: list[Received] = field(default_factory=list[Received])

    def client(self) -> httpx2.AsyncClient:
        """Make a client whose requests come here; its opener closes it."""
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.received.append(
            Received(
                method=request.method,
                path=request.url.path,
                query=request.url.query.decode(),
                headers=dict(request.headers),
                body=json.loads(request.content),
            )
        )
        default = "text/event-stream" if self.exchange.sse is not None else "application/json"
        headers = {"content-type": default, **self.exchange.headers}
        return httpx2.Response(self.exchange.status, headers=headers, content=self.exchange.content)
