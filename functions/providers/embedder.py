"""One provider as an `Embedder`: its wire translates, its client carries."""

from typing import Any, Protocol

from events.spend import Usage
from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Deployment, EmbeddingRequest, Embeddings
from functions.providers.upstream import Client, json_object, malformed_answers, require_key, sent, transport_failures


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

    def usage_of(self, body: dict[str, Any]) -> Usage | None:
        """Read what an answer says that it consumed, good or bad."""
        ...


class ProviderEmbedder:
    """`Embedder` from a wire and a client."""

    def __init__(self, wire: EmbeddingWire, client: Client) -> None:
        self._wire = wire
        self._client = client

    async def embed(self, request: EmbeddingRequest, deployment: Deployment) -> Embeddings:
        """Give one vector for each input."""
        require_key(deployment)
        asked, read_s = self._wire.encode(request, deployment), deployment.timeout_s
        async with sent(self._client, asked, deployment, is_stream=False, read_s=read_s, headers={}) as response:
            with transport_failures("connection_error"):
                content = await response.aread()
        body = json_object(content)
        with malformed_answers(lambda: self._wire.usage_of(body)):
            embeddings = self._wire.decode(body)
            _check(embeddings, request)
        return embeddings

    def dropped_params(self, request: EmbeddingRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name what this provider isn't asked, sorted."""
        return self._wire.dropped_params(request, deployment)


def _check(embeddings: Embeddings, request: EmbeddingRequest) -> None:
    """Raise `UpstreamError` where there is not one vector for each input: who asked could not tell whose they are."""
    asked: str | list[Any] = request.body["input"]
    expected = 1 if isinstance(asked, str) or isinstance(asked[0], int) else len(asked)
    if len(embeddings.vectors) != expected or not all(embeddings.vectors):
        said = f"{len(embeddings.vectors)} vectors for {expected} inputs, or empty ones"
        raise UpstreamError("invalid_response", said)
