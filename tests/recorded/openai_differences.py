"""Where what is sent is not what was recorded: in which requests, at which places, and why that is right."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Difference = tuple[str, str]  # what happened, where
_IMAGE = "messages[].content[].image_url"


@dataclass(frozen=True)
class Rule:
    """What is different in every request that `holds`, and in no other."""

    why: str
    differences: frozenset[Difference]
    holds: Callable[[Mapping[str, Any]], bool]


def _streams_without_usage(request: Mapping[str, Any]) -> bool:
    return bool(request.get("stream")) and "include_usage" not in (request.get("stream_options") or {})


def _has_short_images(request: Mapping[str, Any]) -> bool:
    contents = [message.get("content") for message in request["messages"]]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return any(isinstance(part.get("image_url"), str) for part in parts)


RULES = (
    Rule(
        "the gateway bills by the usage that a stream reports when asked",
        frozenset({("added", "stream_options.include_usage")}),
        _streams_without_usage,
    ),
    Rule(
        "Azure's address names the model, and its body need not",
        frozenset({("added", "model")}),
        lambda request: "model" not in request,
    ),
    Rule(
        "the short form of an image is written out as the object",
        frozenset({("left out", _IMAGE), ("added", f"{_IMAGE}.url")}),
        _has_short_images,
    ),
)


def expected(request: Mapping[str, Any]) -> set[Difference]:
    """Give the differences that this request must have."""
    return {difference for rule in RULES if rule.holds(request) for difference in rule.differences}
