"""OpenAI's wire, as clients speak it to the gateway: requests checked, answers rendered."""

import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from events.spend import Usage
from functions.gateway.checks import check_messages, check_tools
from functions.gateway.errors import GatewayError
from functions.gateway.exact_json import write_json
from functions.gateway.legacy import is_legacy, modern, put_legacy
from functions.gateway.ports import PASSED_HEADERS, Answer, ChatRequest, Chunk, EmbeddingRequest, Embeddings
from functions.gateway.shapes import read_chat_body, read_embedding_body
from functions.gateway.wishes import OWN_FIELDS, read_wishes

DONE = b"data: [DONE]\n\n"

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_CLOSING_FIELDS = ("service_tier", "system_fingerprint")  # of a stream's last chunk, as OpenAI has them


def parse_chat_request(raw: bytes, *, drop_params: bool, headers: Mapping[str, str] = _NO_HEADERS) -> ChatRequest:
    """Check a body, and the headers that are the gateway's own.

    Raises `BadRequest`, naming the first field at fault by its path, or the header.
    """
    body = read_chat_body(raw)
    _write_out_images(body["messages"])
    check_messages(body["messages"])
    check_tools(body)
    kept = _without_own_fields(body)
    has_legacy = is_legacy(kept)
    stream_options: dict[str, Any] = body.get("stream_options") or {}
    return ChatRequest(
        alias=body["model"],
        body=modern(kept) if has_legacy else kept,
        is_stream=bool(body.get("stream")),
        wants_usage=bool(stream_options.get("include_usage")),
        drop_params=drop_params,
        wishes=read_wishes(body, headers),
        legacy_body=kept if has_legacy else None,
        headers={name: headers[name] for name in PASSED_HEADERS if name in headers},
    )


def parse_embedding_request(
    raw: bytes, *, drop_params: bool, headers: Mapping[str, str] = _NO_HEADERS
) -> EmbeddingRequest:
    """Check a body and headers, as of a chat request."""
    body = read_embedding_body(raw)
    return EmbeddingRequest(
        alias=body["model"],
        body=_without_own_fields(body),
        drop_params=drop_params,
        wishes=read_wishes(body, headers),
    )


def _without_own_fields(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in OWN_FIELDS}


def _write_out_images(messages: list[dict[str, Any]]) -> None:
    """Write the short form of an image, a mere URL, as the object that the wires read."""
    for message in messages:
        if isinstance(message.get("content"), list):
            for part in message["content"]:
                if isinstance(part.get("image_url"), str):
                    part["image_url"] = {"url": part["image_url"]}


def render_answer(
    answer: Answer,
    *,
    model: str,
    fallback_id: str,
    created: int,
    usage: Usage | None = None,
    is_legacy: bool = False,
) -> bytes:
    """Render a whole answer as a `chat.completion`.

    `created`, in Unix seconds, and `usage` hold where the provider doesn't say.
    """
    if is_legacy:
        for choice in answer.choices:
            put_legacy(choice)
    completion: dict[str, Any] = {
        "id": answer.response_id or fallback_id,
        "object": "chat.completion",
        "created": answer.created or created,
        "model": model,
        "choices": answer.choices,
        "usage": render_usage(answer.usage or usage or Usage(), answer.usage_details),
    }
    return write_json(completion | answer.extra)


def render_embeddings(embeddings: Embeddings, usage: Usage, *, model: str, encoding_format: str | None) -> bytes:
    """Render a list of embeddings, in the encoding that was asked for."""
    encode = _as_base64 if encoding_format == "base64" else _as_numbers
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector)}
        for index, vector in enumerate(embeddings.vectors)
    ]
    tokens = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return orjson.dumps({"object": "list", "data": data, "model": model, "usage": tokens})


def _as_base64(vector: list[float] | str) -> str:
    """Pack numbers as OpenAI does, in little-endian 32-bit floats."""
    if isinstance(vector, str):
        return vector
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _as_numbers(vector: list[float] | str) -> list[float]:
    if not isinstance(vector, str):
        return vector
    packed = b64decode(vector)
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


class ChunkRenderer:
    """Renders the chunks of one stream as server-sent events, with one `id` and `created` throughout.

    These are the provider's own, if its first chunk with content has them. `model` is whoever speaks.
    """

    def __init__(
        self, *, model: str, fallback_id: str, created: int, wants_usage: bool, is_legacy: bool = False
    ) -> None:
        self._head: dict[str, Any] = {
            "id": fallback_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._has_begun = False
        self._tail = {"usage": None} if wants_usage else {}
        self._is_legacy = is_legacy
        self._closing: dict[str, Any] = {}

    def name(self, model: str) -> None:
        """Say who speaks from here on."""
        self._head["model"] = model

    def render(self, chunk: Chunk) -> bytes:
        """Render one chunk; nothing for a chunk without choices, whose usage comes at the end."""
        if not chunk.choices:
            return b""
        if not self._has_begun:
            self._begin(chunk)
        if self._is_legacy:
            for choice in chunk.choices:
                put_legacy(choice)
        return _event({**self._head, "choices": chunk.choices, **chunk.extra, **self._tail})

    def render_usage(self, usage: Usage, details: Mapping[str, Any] | None = None) -> bytes:
        """Render the closing chunk of `stream_options.include_usage`."""
        return _event({**self._head, **self._closing, "choices": [], "usage": render_usage(usage, details)})

    def _begin(self, chunk: Chunk) -> None:
        self._has_begun = True
        self._head["id"] = chunk.response_id or self._head["id"]
        self._head["created"] = chunk.created or self._head["created"]
        self._closing = {name: chunk.extra[name] for name in _CLOSING_FIELDS if name in chunk.extra}


def render_usage(usage: Usage, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give OpenAI's `usage`; `prompt_tokens` includes cached ones, `completion_tokens` reasoning.

    Writes to the cache have two names: OpenAI's, and the one that LiteLLM's clients know. `details` are added as
    they were reported.
    """
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    further = dict(details or {})
    prompt: Mapping[str, Any] = further.pop("prompt_tokens_details", None) or {}
    completion: Mapping[str, Any] = further.pop("completion_tokens_details", None) or {}
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": written,
            "cache_creation_tokens": written,
            "audio_tokens": usage.audio_input_tokens,
            **prompt,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
            **completion,
        },
        **further,
    }


def render_error(error: GatewayError) -> bytes:
    """Give OpenAI's error envelope; `code` is a word, the status is HTTP's."""
    return orjson.dumps({"error": _error(error)})


def render_stream_error(error: GatewayError) -> bytes:
    """Give the event that ends a broken stream. No `[DONE]` follows it."""
    return _event({"error": _error(error)})


def _error(error: GatewayError) -> Mapping[str, Any]:
    return {"message": error.message, "type": error.type, "param": error.param, "code": error.code, **error.details}


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % write_json(data)
