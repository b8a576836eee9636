"""How a client is told of its rate limits: OpenAI's headers for the one that it will meet first, LiteLLM's for each."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from functions.gateway.errors import RateLimited
from functions.gateway.ports import Rate, RateKind

SHOWN_KINDS: Mapping[RateKind, str] = {
    "requests": "requests",
    "tokens": "tokens",
    "parallel": "max_parallel_requests",
}
_SHOWN_SCOPES = {"key": "api_key"}
_MODEL_SCOPE = "model_per_key"


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a limit is left, as far as this instance knows, and until when; parallel requests have no end."""

    rate: Rate
    remaining: int
    ends_at: datetime


def rate_headers(standings: Sequence[Standing], now: datetime) -> dict[str, str]:
    """Give the headers for all limits that hold for a request."""
    headers: dict[str, str] = {}
    for kind in ("requests", "tokens"):
        if of_kind := [standing for standing in standings if standing.rate.kind == kind]:
            headers.update(_openai(min(of_kind, key=lambda one: (one.remaining, one.rate.limit)), now))
    for standing in standings:
        headers.update(_litellm(standing))
    return headers


def refusal(standing: Standing, asked: int, now: datetime, *, can_pass: bool) -> RateLimited:
    """Say that a request is over a limit."""
    rate = standing.rate
    label, name = shown_scope(rate.scope)
    is_parallel = rate.kind == "parallel"
    return RateLimited(
        label,
        name,
        rate_limit_type=SHOWN_KINDS[rate.kind],
        limit=rate.limit,
        remaining=standing.remaining,
        asked=asked,
        ends_at=None if is_parallel else standing.ends_at,
        retry_after_s=1 if is_parallel else seconds_until(standing.ends_at, now),
        can_pass=can_pass,
    )


def shown_scope(scope: str) -> tuple[str, str]:
    """Give LiteLLM's word for a scope, and whose it is."""
    kind, *names = scope.split(":")
    label = _MODEL_SCOPE if len(names) > 1 else _SHOWN_SCOPES.get(kind, kind)
    return label, ":".join(map(unquote, names))


def seconds_until(time: datetime, now: datetime) -> int:
    """Give whole seconds, rounded up, and one at least."""
    return max(1, math.ceil((time - now).total_seconds()))


def duration(seconds: int) -> str:
    """Write a duration as OpenAI does: `12s`, `6m0s`."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _openai(standing: Standing, now: datetime) -> Iterator[tuple[str, str]]:
    kind = standing.rate.kind
    yield f"x-ratelimit-limit-{kind}", str(standing.rate.limit)
    yield f"x-ratelimit-remaining-{kind}", str(standing.remaining)
    yield f"x-ratelimit-reset-{kind}", duration(seconds_until(standing.ends_at, now))


def _litellm(standing: Standing) -> Iterator[tuple[str, str]]:
    label, kind = shown_scope(standing.rate.scope)[0], SHOWN_KINDS[standing.rate.kind]
    yield f"x-ratelimit-{label}-limit-{kind}", str(standing.rate.limit)
    yield f"x-ratelimit-{label}-remaining-{kind}", str(standing.remaining)
