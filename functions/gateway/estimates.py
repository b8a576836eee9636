"""What an answer consumed where its provider did not get to say."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from events.spend import Usage

_BYTES_PER_TOKEN = 4  # https://platform.openai.com/tokenizer: about four characters of English


def tokens_of(text: str) -> int:
    """Estimate the tokens of a text by its bytes, rounded up."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def interrupted_usage(reported: Usage | None, body: Mapping[str, Any], produced: str) -> Usage:
    """Estimate the usage of an answer that broke off after `produced`.

    What the provider reported before the end counts; what it did not is estimated from the texts.
    """
    known = reported or Usage()
    return replace(
        known,
        input_tokens=known.input_tokens or _asked(body),
        output_tokens=max(known.output_tokens, tokens_of(produced)),
    )


def _asked(body: Mapping[str, Any]) -> int:
    return sum(map(tokens_of, _texts(body.get("messages", ())))) + input_tokens(body.get("input"))


def input_tokens(value: Any) -> int:
    """Estimate the tokens of an Embeddings request's `input`: texts, or tokens that are already counted."""
    if isinstance(value, str):
        return tokens_of(value)
    if isinstance(value, list):
        return sum(map(input_tokens, cast("list[Any]", value)))
    return 1 if isinstance(value, int) else 0


def _texts(messages: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        if isinstance(content, list):
            yield from (part.get("text") or "" for part in cast("list[dict[str, Any]]", content))
