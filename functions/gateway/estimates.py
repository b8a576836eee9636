"""What an answer consumed where its provider did not get to say."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from events.spend import Usage

_BYTES_PER_TOKEN = 4  # https://platform.openai.com/tokenizer: about four characters of English
_READ_PER_SECOND = 40_000  # bytes of input, some 10,000 tokens: slower than any of the providers is on a good day
_DEFINITIONS = ("tools", "response_format")  # which providers count among the input


def tokens_of(text: str) -> int:
    """Estimate the tokens of a text by its bytes, rounded up."""
    return -(-len(text.encode(errors="surrogatepass")) // _BYTES_PER_TOKEN)


def interrupted_usage(reported: Usage | None, body: Mapping[str, Any], produced: str) -> Usage:
    """Estimate the usage of an answer that broke off after `produced`.

    What the provider reported before the end counts; what it did not is estimated from the texts.
    """
    known = reported or Usage()
    return replace(
        known,
        input_tokens=known.input_tokens or asked_tokens(body),
        output_tokens=max(known.output_tokens, tokens_of(produced)),
    )


def asked_tokens(body: Mapping[str, Any]) -> int:
    """Estimate the input tokens of a request, without those of images and files."""
    said = sum(map(tokens_of, _texts(body.get("messages", ()))))
    defined = sum(tokens_of(_json(body[name])) for name in _DEFINITIONS if body.get(name))
    return said + defined + input_tokens(body.get("input"))


def reading_s(body: Mapping[str, Any]) -> float:
    """Say how long a model may take to read a request's messages before it begins to write."""
    return sum(map(len, _texts(body.get("messages", ())))) / _READ_PER_SECOND


def input_tokens(value: Any) -> int:
    """Estimate the tokens of an Embeddings request's `input`: texts, or tokens that are already counted."""
    if isinstance(value, str):
        return tokens_of(value)
    if isinstance(value, list):
        return sum(map(input_tokens, cast("list[Any]", value)))
    return 1 if isinstance(value, int) else 0


def _texts(messages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Give the texts and the calls; how many tokens an image or a file takes, its provider alone knows."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        if isinstance(content, list):
            texts = (part.get("text") for part in cast("list[dict[str, Any]]", content))
            yield from (text for text in texts if isinstance(text, str))
        if calls := message.get("tool_calls"):
            yield _json(calls)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
