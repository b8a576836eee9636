"""OpenAI's Chat Completions wire, which is the gateway's own: it passes through.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Mapping
from typing import Any

import httpx2

from events.spend import Usage
from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Answer, ChatRequest, Chunk, Deployment
from functions.providers.sdk import SdkClient
from functions.providers.upstream import ProviderUpstream

_BASE_URL = "https://api.openai.com/v1"
_OWN_FIELDS = frozenset({"id", "object", "created", "model", "choices", "usage"})


class OpenAIWire:
    """`Wire`: the body passes through, apart from what a reasoning model calls differently."""

    def encode(self, request: ChatRequest, deployment: Deployment) -> dict[str, Any]:
        """Give the body under the upstream's own model name; a stream always reports its usage."""
        body: dict[str, Any] = {**request.body, "model": deployment.upstream_model}
        if deployment.model.capabilities.get("reasoning") and "max_tokens" in body:
            # Reasoning models refuse `max_tokens`: https://platform.openai.com/docs/guides/reasoning
            body.setdefault("max_completion_tokens", body.pop("max_tokens"))
            body.pop("max_tokens", None)
        if request.is_stream:
            options: dict[str, Any] = body.get("stream_options") or {}
            body["stream_options"] = {**options, "include_usage": True}
        return body

    def dropped_params(self, request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
        """Nothing is left out."""
        return ()

    def decode(self, body: dict[str, Any]) -> Answer:
        """Read a `chat.completion`."""
        if not body.get("choices"):
            raise UpstreamError("invalid_response", "an answer without choices")
        return Answer(
            choices=body["choices"],
            usage=usage_of(body.get("usage")) or Usage(),
            response_id=body.get("id"),
            response_model=body.get("model"),
            extra=_extra(body),
        )

    def stream_decoder(self) -> "OpenAIStream":
        """Start reading a stream of `chat.completion.chunk`s."""
        return OpenAIStream()


class OpenAIStream:
    """`StreamDecoder`: complete with `[DONE]`."""

    def __init__(self) -> None:
        self.is_complete = False

    def decode(self, event: dict[str, Any]) -> list[Chunk]:
        """Pass the choices through."""
        if event.get("type") == "[DONE]":
            self.is_complete = True
            return []
        return [
            Chunk(
                choices=event.get("choices") or [],
                usage=usage_of(event.get("usage")),
                response_id=event.get("id"),
                response_model=event.get("model"),
                extra=_extra(event),
            )
        ]


def usage_of(usage: Mapping[str, Any] | None) -> Usage | None:
    """Read OpenAI's `usage`: its `prompt_tokens` include cached and audio ones, `completion_tokens` reasoning."""
    if not usage:
        return None
    prompt: Mapping[str, Any] = usage.get("prompt_tokens_details") or {}
    completion: Mapping[str, Any] = usage.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=usage.get("prompt_tokens") or 0,
        output_tokens=usage.get("completion_tokens") or 0,
        cache_read_tokens=prompt.get("cached_tokens") or 0,
        audio_input_tokens=prompt.get("audio_tokens") or 0,
        reasoning_tokens=completion.get("reasoning_tokens") or 0,
    )


def _extra(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _OWN_FIELDS}


def openai_upstream(http: httpx2.AsyncClient) -> ProviderUpstream:
    """Make the upstream, on a connection pool that its opener closes."""

    def make(sdk: Any, deployment: Deployment) -> Any:
        base_url = deployment.api_base or _BASE_URL
        return sdk.AsyncOpenAI(api_key=deployment.api_key, base_url=base_url, http_client=http, max_retries=0)

    return ProviderUpstream(OpenAIWire(), SdkClient("openai", "/chat/completions", make))
