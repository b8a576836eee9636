"""Anthropic's Messages wire. Source: https://platform.claude.com/docs/en/api/messages"""

from collections.abc import Mapping
from typing import Any

import httpx2

from events.spend import Usage
from functions.gateway.ports import Answer, ChatRequest, Deployment
from functions.providers.anthropic.betas import beta_headers
from functions.providers.anthropic.decode import decode_answer
from functions.providers.anthropic.encode import dropped_params, encode_request
from functions.providers.anthropic.stream import AnthropicStream
from functions.providers.anthropic.usage import usage_of
from functions.providers.parts import malformed_requests, refuse_custom_tools
from functions.providers.sdk import SdkClient
from functions.providers.upstream import ProviderUpstream

_BASE_URL = "https://api.anthropic.com"


class AnthropicWire:
    """`Wire` of the Messages API."""

    def encode(self, request: ChatRequest, deployment: Deployment) -> dict[str, Any]:
        """Give the body."""
        with malformed_requests("Anthropic"):
            refuse_custom_tools(request.body, "anthropic")
            return encode_request(request, deployment)

    def headers(self, request: ChatRequest, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Name the betas that the client, or the body, asks for."""
        with malformed_requests("Anthropic"):
            return beta_headers(request, body)

    def dropped_params(self, request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name what is left out."""
        with malformed_requests("Anthropic"):
            return dropped_params(request, deployment)

    def decode(self, body: dict[str, Any]) -> Answer:
        """Read a message."""
        return decode_answer(body)

    def usage_of(self, body: dict[str, Any]) -> Usage | None:
        """Read `usage`."""
        return usage_of(body.get("usage") or {})

    def stream_decoder(self) -> AnthropicStream:
        """Start reading a stream of message events."""
        return AnthropicStream()


def anthropic_upstream(http: httpx2.AsyncClient) -> ProviderUpstream:
    """Make the upstream, on a connection pool that its opener closes."""

    def make(sdk: Any, deployment: Deployment) -> Any:
        return sdk.AsyncAnthropic(
            api_key=deployment.api_key,
            base_url=deployment.api_base or _BASE_URL,
            http_client=http,
            max_retries=0,
            open_telemetry=False,
        )

    wire = AnthropicWire()
    return ProviderUpstream(wire, SdkClient("anthropic", "/v1/messages", make), headers=wire.headers)
