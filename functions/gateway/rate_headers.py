"""How a client is told of its rate limits: OpenAI's headers for the one that it will meet first, LiteLLM's for each."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
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


class Standing(NamedTuple):
    """How much of a limit is left, as far as this instance knows, and until when; parallel requests have no end."""

    rate: Rate
    remaining: int
    ends_at: datetime


def rate_headers(standings: Sequence[Standing], now: datetime) -> dict[str, str]:
    """Give the headers for all limits that hold for a request."""
    headers: dict[str, str] = {}
    first: dict[RateKind, Standing] = {}
    for standing in standings:
        rate, remaining = standing.rate, standing.remaining
        of_limit, of_remaining = _names(rate.scope, rate.kind)
        headers[of_limit], headers[of_remaining] = str(rate.limit), str(remaining)
        known = first.get(rate.kind)
        if known is None or (remaining, rate.limit) < (known.remaining, known.rate.limit):
            first[rate.kind] = standing
    first.pop("parallel", None)  # OpenAI has none
    for kind, standing in first.items():
        headers[f"x-ratelimit-limit-{kind}"] = str(standing.rate.limit)
        headers[f"x-ratelimit-remaining-{kind}"] = str(standing.remaining)
        headers[f"x-ratelimit-reset-{kind}"] = duration(seconds_until(standing.ends_at, now))
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


@lru_cache(maxsize=4096)
def _names(scope: str, kind: RateKind) -> tuple[str, str]:
    label, shown = shown_scope(scope)[0], SHOWN_KINDS[kind]
    return f"x-ratelimit-{label}-limit-{shown}", f"x-ratelimit-{label}-remaining-{shown}"
