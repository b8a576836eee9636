"""No field of Google's answers is lost unnoticed."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.gateway.errors import UpstreamError
from functions.providers.google.decode import decode_answer
from functions.providers.google.stream import GoogleStream
from tests.recorded.exchanges import recorded, response_only
from tests.recorded.fields import Path as FieldPath
from tests.recorded.fields import changed, leaves, place
from tests.recorded.google_fields import DROPPED, MAPPED
from tests.recorded.test_google_answers import FAILED, _as_events, events_of

_SAMPLES = 3
_BELOW = sorted((name.removesuffix(".*") for name in MAPPED if name.endswith(".*")), key=len, reverse=True)
_PREFIX = re.compile("|".join(rf"{re.escape(name)}(?=[.\[])" for name in _BELOW))


def table_place(path: FieldPath) -> str:
    """Name a place as the table does."""
    name = place(path)
    below = _PREFIX.match(name)
    return f"{below[0]}.*" if below else name


def answers(cassettes: Path) -> Iterator[list[dict[str, Any]]]:
    """Give each answer as the responses that it consists of."""
    apis = ("generateContent", "streamGenerateContent")
    for exchange in [*recorded(cassettes, "google", *apis), *response_only(cassettes, "google", *apis)]:
        if exchange.is_ok and exchange.id not in FAILED:
            yield events_of(_as_events(exchange)) if exchange.is_stream else [exchange.body]


def test_every_field_is_mapped_or_dropped_for_a_reason(cassettes: Path) -> None:
    found = {table_place(path) for answer in answers(cassettes) for event in answer for path, _ in leaves(event)}

    assert found - MAPPED - DROPPED.keys() == set()
    assert DROPPED.keys() - found == set()


def test_a_mapped_field_changes_what_comes_out(cassettes: Path) -> None:
    tried: dict[str, int] = defaultdict(int)
    mapped: set[str] = set()
    for answer in answers(cassettes):
        before = None
        for position, event in enumerate(answer):
            for path, _ in leaves(event):
                name = table_place(path)
                if name not in MAPPED or name in mapped or tried[name] >= _SAMPLES * 10:
                    continue
                tried[name] += 1
                before = before or decoded(answer)
                altered = [*answer[:position], changed(event, path), *answer[position + 1 :]]
                if decoded(altered) != before:
                    mapped.add(name)

    assert MAPPED - mapped == set()


@pytest.mark.parametrize("name", ["usageMetadata.totalTokenCount", "candidates[].content.role"])
def test_a_dropped_field_changes_nothing(cassettes: Path, name: str) -> None:
    for answer in answers(cassettes):
        for position, event in enumerate(answer):
            for path, _ in leaves(event):
                if place(path) == name and "candidatesTokenCount" in event.get("usageMetadata", {}):
                    altered = [*answer[:position], changed(event, path), *answer[position + 1 :]]
                    assert decoded(altered) == decoded(answer)


def decoded(answer: list[dict[str, Any]]) -> Any:
    """Decode an answer of one response as whole, of several as a stream; a failure counts as what comes out."""
    ids = iter(range(1000))
    try:
        if len(answer) == 1 and "candidates" in answer[0]:
            return decode_answer(answer[0], lambda: f"call_{next(ids)}")
        stream = GoogleStream(lambda: f"call_{next(ids)}")
        return [chunk for event in answer for chunk in stream.decode(event)]
    except (UpstreamError, TypeError, KeyError, AttributeError, ValueError) as error:
        return repr(error)
