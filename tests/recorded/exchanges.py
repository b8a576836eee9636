"""Recorded exchanges with the providers, read from the folder that the `cassettes` fixture gives."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as the provider's own wire carried them.

    `request` and `body` are parsed JSON; a streamed answer has `sse`, its raw events without the blank lines between.
    """

    id: str
    api: str
    model: str
    is_stream: bool
    features: frozenset[str]
    host: str
    path: str
    request_headers: dict[str, str]
    request: Any
    status: int
    headers: dict[str, str]
    body: Any
    sse: list[str] | None
    sse_eol: str

    @property
    def is_ok(self) -> bool:
        """Say whether the provider answered 2xx."""
        return 200 <= self.status < 300

    @property
    def content(self) -> bytes:
        """The answer's bytes as they came over the wire."""
        if self.sse is None:
            return json.dumps(self.body).encode()
        return "".join(event + self.sse_eol * 2 for event in self.sse).encode()


def recorded(cassettes: Path, provider: str, *apis: str) -> Iterator[Exchange]:
    """Give a provider's exchanges (`anthropic`, `google`, `openai`) with these APIs, or all, in the order of their ids.

    An API is `messages`, `generateContent`, `streamGenerateContent`, `embedContent`, `chat.completions`, `embeddings`.
    """
    for path in sorted((cassettes / provider).glob("*.json")):
        raw = json.loads(path.read_text())
        if not apis or raw["api"] in apis:
            yield _exchange(raw)


def response_only(cassettes: Path, provider: str, *apis: str) -> Iterator[Exchange]:
    """Give answers whose request was not kept: their `request` is `None`."""
    for path in sorted((cassettes / "response_only" / provider).glob("*.json")):
        raw = json.loads(path.read_text())
        if not apis or raw["api"] in apis:
            yield _exchange(raw)


def _exchange(raw: dict[str, Any]) -> Exchange:
    request, response = raw.get("request") or {}, raw["response"]
    return Exchange(
        id=raw["id"],
        api=raw["api"],
        model=raw.get("model") or "",
        is_stream=raw["stream"],
        features=frozenset(raw["features"]),
        host=request.get("host") or "",
        path=request.get("path") or "",
        request_headers=request.get("headers") or {},
        request=request.get("body"),
        status=response.get("status") or 200,
        headers=response.get("headers") or {},
        body=response.get("body"),
        sse=response.get("sse"),
        sse_eol=response.get("sse_eol") or "\n",
    )
