"""Embeddings on Google's wire: one `:batchEmbedContents` for all inputs.

Source: https://ai.google.dev/api/embeddings#method:-models.batchembedcontents
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from events.spend import Usage
from functions.gateway.errors import BadRequest, UpstreamError
from functions.providers.counts import NoCount, count

# Google's own, in camel or snake case: https://ai.google.dev/api/embeddings#EmbedContentRequest
_EXTRAS = {"task_type": "taskType", "taskType": "taskType", "title": "title"}


def encode_embeddings(body: Mapping[str, Any], upstream_model: str) -> dict[str, Any]:
    """Give the body. Google always answers in floats, and is not told of `user`. Raises `BadRequest`, `UpstreamError`.

    `dimensions` becomes `outputDimensionality` (https://ai.google.dev/gemini-api/docs/embeddings#controlling-embedding-size).
    """
    model = f"models/{upstream_model}"
    options: dict[str, Any] = {theirs: body[ours] for ours, theirs in _EXTRAS.items() if body.get(ours) is not None}
    if body.get("dimensions") is not None:
        options["outputDimensionality"] = body["dimensions"]
    texts = _texts(body.get("input"))
    return {"requests": [{"model": model, "content": {"parts": [{"text": text}]}, **options} for text in texts]}


def decode_embeddings(body: Mapping[str, Any]) -> tuple[list[list[float]], Usage | None]:
    """Read the vectors in the order of their inputs, and the usage where the model reports one.

    Also reads the answer of `:embedContent`, which has one. Raises `UpstreamError` where it is none.
    """
    embeddings: list[dict[str, Any]] = body.get("embeddings") or [body.get("embedding") or {}]
    vectors = [embedding.get("values") for embedding in embeddings]
    if not all(vectors):
        raise UpstreamError("invalid_response", "an answer without embeddings")
    return cast("list[list[float]]", vectors), embedding_usage_of(body.get("usageMetadata"))


def embedding_usage_of(metadata: Mapping[str, Any] | None) -> Usage | None:
    """Read what embeddings report, or nothing where it, or one of its counts, is none."""
    if not metadata or metadata.get("promptTokenCount") is None:
        return None
    details: list[dict[str, Any]] = metadata.get("promptTokenDetails") or metadata.get("promptTokensDetails") or []
    with suppress(NoCount):
        audio = sum(count(entry.get("tokenCount")) for entry in details if entry.get("modality") == "AUDIO")
        return Usage(input_tokens=count(metadata["promptTokenCount"]), audio_input_tokens=audio)
    return None


def _texts(value: Any) -> list[str]:
    texts: list[Any] = [value] if isinstance(value, str) else value
    if not isinstance(value, (str, list)) or not value:
        raise BadRequest("input must be a text or a list of texts, and not empty.", param="input")
    for index, text in enumerate(texts):
        path = "input" if isinstance(value, str) else f"input[{index}]"
        if isinstance(text, (int, list)):
            raise UpstreamError("unsupported_content", f"{path}: tokens are not supported by gemini, only texts")
        if not isinstance(text, str) or not text:
            raise BadRequest(f"{path} must be a text that is not empty.", param=path)
    return texts
