"""OpenAI's Chat Completions and Embeddings wires, which servers of many others speak too.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from typing import Any

import httpx2

from events.spend import Usage
from functions.gateway.ports import Answer, ChatRequest, Deployment
from functions.providers.embedder import ProviderEmbedder
from functions.providers.openai.decode import decode_answer, usage_of
from functions.providers.openai.embeddings import OpenAIEmbeddings
from functions.providers.openai.encode import dropped_params, encode_request
from functions.providers.openai.stream import OpenAIStream
from functions.providers.sdk import SdkClient
from functions.providers.upstream import ProviderUpstream

_BASE_URL = "https://api.openai.com/v1"


class OpenAIWire:
    """`Wire`: it is the gateway's own, so that nearly everything passes through."""

    def encode(self, request: ChatRequest, deployment: Deployment) -> dict[str, Any]:
        """Give the body."""
        return encode_request(request, deployment)

    def dropped_params(self, request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name what is left out."""
        return dropped_params(request, deployment)

    def decode(self, body: dict[str, Any]) -> Answer:
        """Read a `chat.completion`."""
        return decode_answer(body)

    def usage_of(self, body: dict[str, Any]) -> Usage | None:
        """Read `usage`."""
        return usage_of(body.get("usage"))

    def stream_decoder(self) -> OpenAIStream:
        """Start reading a stream of `chat.completion.chunk`s."""
        return OpenAIStream()


def openai_upstream(http: httpx2.AsyncClient) -> ProviderUpstream:
    """Make the upstream, on a connection pool that its opener closes."""
    return ProviderUpstream(OpenAIWire(), _client(http, "/chat/completions"))


def openai_embedder(http: httpx2.AsyncClient) -> ProviderEmbedder:
    """Make the embedder, on a connection pool that its opener closes."""
    return ProviderEmbedder(OpenAIEmbeddings(), _client(http, "/embeddings"))


def _client(http: httpx2.AsyncClient, path: str) -> SdkClient:
    def make(sdk: Any, deployment: Deployment) -> Any:
        base_url = deployment.api_base or _BASE_URL
        return sdk.AsyncOpenAI(api_key=deployment.api_key, base_url=base_url, http_client=http, max_retries=0)

    return SdkClient("openai", path, make)
