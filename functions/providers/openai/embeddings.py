"""OpenAI's Embeddings wire. Source: https://platform.openai.com/docs/api-reference/embeddings"""

from collections.abc import Mapping
from typing import Any

from events.spend import Usage
from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Deployment, EmbeddingRequest, Embeddings
from functions.providers.openai.decode import usage_of


class OpenAIEmbeddings:
    """`EmbeddingWire`: the body passes through."""

    def encode(self, request: EmbeddingRequest, deployment: Deployment) -> dict[str, Any]:
        """Give the body under the upstream's own model name."""
        return {**request.body, "model": deployment.upstream_model}

    def dropped_params(self, request: EmbeddingRequest, deployment: Deployment) -> tuple[str, ...]:
        """Nothing is left out."""
        return ()

    def decode(self, body: dict[str, Any]) -> Embeddings:
        """Read a list of embeddings. Raises `UpstreamError` where it is none."""
        data: list[dict[str, Any]] = body.get("data") or []
        if not data:
            raise UpstreamError("invalid_response", "an answer without embeddings")
        ordered = sorted(enumerate(data), key=_index)
        return Embeddings(
            vectors=[entry["embedding"] for _, entry in ordered],
            usage=usage_of(body.get("usage")),
            response_model=body.get("model"),
        )

    def usage_of(self, body: dict[str, Any]) -> Usage | None:
        """Read `usage`."""
        return usage_of(body.get("usage"))


def _index(entry: tuple[int, Mapping[str, Any]]) -> int:
    position, embedding = entry
    return embedding.get("index", position)
