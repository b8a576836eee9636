"""Google's generateContent wire. Source: https://ai.google.dev/api/generate-content"""

from typing import Any

import httpx2

from events.spend import Usage
from functions.gateway.ports import Answer, ChatRequest, Deployment, EmbeddingRequest, Embeddings
from functions.providers.calls import new_call_id
from functions.providers.embedder import ProviderEmbedder
from functions.providers.google.client import GoogleClient
from functions.providers.google.decode import decode_answer
from functions.providers.google.embeddings import decode_embeddings, embedding_usage_of, encode_embeddings
from functions.providers.google.encode import encode_request
from functions.providers.google.parameters import dropped_params
from functions.providers.google.stream import GoogleStream
from functions.providers.google.usage import searches_in, usage_of
from functions.providers.parts import malformed_requests, refuse_custom_tools
from functions.providers.upstream import ProviderUpstream


class GoogleWire:
    """`Wire` of generateContent and streamGenerateContent."""

    def encode(self, request: ChatRequest, deployment: Deployment) -> dict[str, Any]:
        """Give the body."""
        refuse_custom_tools(request.body, "gemini")
        with malformed_requests("Google"):
            return encode_request(request, deployment)

    def dropped_params(self, request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name what is left out."""
        with malformed_requests("Google"):
            return dropped_params(request, deployment)

    def decode(self, body: dict[str, Any]) -> Answer:
        """Read a response."""
        return decode_answer(body, new_call_id)

    def usage_of(self, body: dict[str, Any]) -> Usage | None:
        """Read `usageMetadata`."""
        return usage_of(body.get("usageMetadata"), searches_in(body.get("candidates") or []))

    def stream_decoder(self) -> GoogleStream:
        """Start reading a stream of responses."""
        return GoogleStream(new_call_id)


class GoogleEmbeddings:
    """`EmbeddingWire` of batchEmbedContents."""

    def encode(self, request: EmbeddingRequest, deployment: Deployment) -> dict[str, Any]:
        """Give the body."""
        return encode_embeddings(request.body, deployment.upstream_model)

    def dropped_params(self, request: EmbeddingRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name what Google has no word for."""
        return ("user",) if request.body.get("user") is not None else ()

    def decode(self, body: dict[str, Any]) -> Embeddings:
        """Read the vectors."""
        vectors, usage = decode_embeddings(body)
        return Embeddings(vectors=vectors, usage=usage)

    def usage_of(self, body: dict[str, Any]) -> Usage | None:
        """Read `usageMetadata`."""
        return embedding_usage_of(body.get("usageMetadata"))


def google_embedder(http: httpx2.AsyncClient) -> ProviderEmbedder:
    """Make the embedder, on a connection pool that its opener closes."""
    return ProviderEmbedder(GoogleEmbeddings(), GoogleClient(http, "batchEmbedContents"))


def google_upstream(http: httpx2.AsyncClient) -> ProviderUpstream:
    """Make the upstream, on a connection pool that its opener closes."""
    return ProviderUpstream(GoogleWire(), GoogleClient(http))
