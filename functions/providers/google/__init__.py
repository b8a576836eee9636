"""Google's generateContent wire. Source: https://ai.google.dev/api/generate-content"""

import uuid
from typing import Any

import httpx2

from functions.gateway.ports import Answer, ChatRequest, Deployment
from functions.providers.google.client import GoogleClient
from functions.providers.google.decode import decode_answer
from functions.providers.google.encode import encode_request
from functions.providers.google.parameters import dropped_params
from functions.providers.google.stream import GoogleStream
from functions.providers.upstream import ProviderUpstream


class GoogleWire:
    """`Wire` of generateContent and streamGenerateContent."""

    def encode(self, request: ChatRequest, deployment: Deployment) -> dict[str, Any]:
        """Give the body."""
        return encode_request(request, deployment)

    def dropped_params(self, request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name what is left out."""
        return dropped_params(request, deployment)

    def decode(self, body: dict[str, Any]) -> Answer:
        """Read a response."""
        return decode_answer(body, new_call_id)

    def stream_decoder(self) -> GoogleStream:
        """Start reading a stream of responses."""
        return GoogleStream(new_call_id)


def new_call_id() -> str:
    """Name a tool call that its model left without an id."""
    return f"call_{uuid.uuid4().hex[:24]}"


def google_upstream(http: httpx2.AsyncClient) -> ProviderUpstream:
    """Make the upstream, on a connection pool that its opener closes."""
    return ProviderUpstream(GoogleWire(), GoogleClient(http))
