"""The headers that tell how an answer came about: LiteLLM's, and some of our own."""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from events.keys import Key
from events.money import NanoUsd, usd
from events.spend import Attempt
from functions.gateway.ports import Deployment

_LONGEST_VALUE = 1024
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]+")


def attempts_header(attempts: Sequence[Attempt]) -> str:
    """Give `x-gateway-attempts`: every deployment that was asked and what came of it, in order."""
    return printable(", ".join(f"{attempt.model}={attempt.status}" for attempt in attempts))


def answer_headers(
    call_id: str,
    deployment: Deployment,
    attempts: Sequence[Attempt],
    *,
    fallbacks: int,
    cost: NanoUsd | None,
    dropped_params: Sequence[str],
    max_tokens: int | None = None,
    rates: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Give an answer's headers; a stream's leave before its cost is known.

    `fallbacks` counts the deployments that failed or were passed over before the one that answered;
    `rates` are the headers that tell of rate limits.
    """
    asked = len({attempt.model_id for attempt in attempts})
    headers = {
        "x-litellm-call-id": call_id,
        "x-litellm-model-id": deployment.model_id,
        "x-litellm-model-name": deployment.name,
        "x-litellm-model-group": deployment.group,
        "x-litellm-attempted-fallbacks": str(fallbacks),
        "x-litellm-attempted-retries": str(len(attempts) - asked),
        "x-gateway-attempts": attempts_header(attempts),
    }
    if cost is not None:
        headers["x-litellm-response-cost"] = _in_usd(cost)
    if dropped_params:
        headers["x-gateway-dropped-params"] = ",".join(dropped_params)
    if max_tokens is not None:
        headers["x-gateway-max-tokens"] = str(max_tokens)
    return {name: printable(value) for name, value in headers.items()} | dict(rates or {})


def key_headers(key: Key | None, spent: NanoUsd | None, cost: NanoUsd | None) -> dict[str, str]:
    """Tell of the key that a request came with: what it has spent in all, with this request, and its own limits."""
    if key is None:
        return {}
    told = {
        "x-litellm-key-spend": None if spent is None else _in_usd(NanoUsd(spent + (cost or 0))),
        "x-litellm-key-max-budget": None if key.max_budget is None else _in_usd(key.max_budget),
        "x-litellm-key-rpm-limit": key.rpm_limit,
        "x-litellm-key-tpm-limit": key.tpm_limit,
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def _in_usd(amount: NanoUsd) -> str:
    return f"{usd(amount):.9f}"


def printable(value: str) -> str:
    """Write a value so that any header can hold it: what is not printable ASCII in percents, and not too long."""
    if value.isascii() and value.isprintable():
        return value[:_LONGEST_VALUE]
    return _NOT_PRINTABLE.sub(lambda match: quote(match[0]), value)[:_LONGEST_VALUE]
