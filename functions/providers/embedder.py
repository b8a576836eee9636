"""One provider as an `Embedder`: its wire translates, its client carries."""

from typing import Any, Protocol

import httpx2

from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Deployment, EmbeddingRequest, Embeddings
from functions.providers.upstream import Client, json_object, malformed_answers, transport_failures

_CONNECT_S = 5
_WRITE_S = 30


class EmbeddingWire(Protocol):
    """What a provider is asked for embeddings and what its answers mean: values in, values out."""

    def encode(self, request: EmbeddingRequest, deployment: Deployment) -> dict[str, Any]:
        """Give the body. Raises `BadRequest` for what can't be asked on this wire."""
        ...

    def dropped_params(self, request: EmbeddingRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name what `encode` leaves out, sorted."""
        ...

    def decode(self, body: dict[str, Any]) -> Embeddings:
        """Read an answer. Raises `UpstreamError` where it is none."""
        ...


class ProviderEmbedder:
    """`Embedder` from a wire and a client."""

    def __init__(self, wire: EmbeddingWire, client: Client) -> None:
        self._wire = wire
        self._client = client

    async def embed(self, request: EmbeddingRequest, deployment: Deployment) -> Embeddings:
        """Give one vector for each input."""
        if deployment.api_key is None:
            raise UpstreamError("no_api_key", f"no API key is configured for {deployment.provider}")
        body = self._wire.encode(request, deployment)
        timeout = httpx2.Timeout(deployment.timeout_s, connect=_CONNECT_S, write=_WRITE_S)
        with transport_failures("connection_error"):
            response = await self._client.send(body, deployment, is_stream=False, timeout=timeout, headers={})
            try:
                content = await response.aread()
            finally:
                await response.aclose()
        with malformed_answers():
            return self._wire.decode(json_object(content))

    def dropped_params(self, request: EmbeddingRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name what this provider isn't asked, sorted."""
        return self._wire.dropped_params(request, deployment)
