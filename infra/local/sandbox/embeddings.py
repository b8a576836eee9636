"""The two embeddings wires, with vectors that are made from the texts' hashes.

Sources: https://platform.openai.com/docs/api-reference/embeddings,
https://ai.google.dev/api/embeddings#method:-models.batchembedcontents
"""

import struct
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from infra.local.sandbox.reply import tokens_of, vector_of

_SIZES = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
_SIZE = 3072  # Google's own


def openai_texts(body: Mapping[str, Any]) -> list[str]:
    """Give the inputs; lists of tokens are written as texts."""
    given: Any = body["input"]
    is_many = isinstance(given, list) and not isinstance(given[0], int)
    return [str(text) for text in (given if is_many else [given])]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def openai_answer(body: Mapping[str, Any]) -> dict[str, Any]:
    """Render a list of embeddings."""
    size = body.get("dimensions") or _SIZES.get(body["model"], _SIZE)
    texts = openai_texts(body)
    vectors = [vector_of(text, size) for text in texts]
    tokens = sum(map(tokens_of, texts))
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _packed(vector) if body.get("encoding_format") == "base64" else vector,
            }
            for index, vector in enumerate(vectors)
        ],
        "model": body["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def google_texts(body: Mapping[str, Any]) -> list[str]:
    """Give the inputs."""
    return ["".join(part.get("text", "") for part in asked["content"]["parts"]) for asked in body["requests"]]


def google_answer(body: Mapping[str, Any]) -> dict[str, Any]:
    """Render a batch of embeddings."""
    sizes = [asked.get("outputDimensionality") or _SIZE for asked in body["requests"]]
    vectors = [vector_of(text, size) for text, size in zip(google_texts(body), sizes, strict=True)]
    return {"embeddings": [{"values": vector} for vector in vectors]}


def _packed(vector: list[float]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
