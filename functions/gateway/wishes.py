"""What a request says of its own routing, in LiteLLM's fields and headers, which no provider is sent."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from functions.gateway.errors import BadRequest
from functions.gateway.ports import AS_CONFIGURED, Wishes
from functions.gateway.shapes import LONGEST_WAIT_S, MOST_RETRIES

OWN_FIELDS = frozenset({
    "fallbacks", "disable_fallbacks", "context_window_fallbacks", "content_policy_fallbacks",
    "num_retries", "timeout", "stream_timeout", "request_timeout",
})  # fmt: skip
_RETRIES_HEADER = "x-litellm-num-retries"
_TIMEOUT_HEADER = "x-litellm-timeout"
_STREAM_TIMEOUT_HEADER = "x-litellm-stream-timeout"
WISH_HEADERS = (_RETRIES_HEADER, _TIMEOUT_HEADER, _STREAM_TIMEOUT_HEADER)
_WHOLE = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def read_wishes(body: Mapping[str, Any], headers: Mapping[str, str]) -> Wishes:
    """Read a checked body, and the headers where it says nothing. Raises `BadRequest`, naming the header at fault."""
    if body.keys().isdisjoint(OWN_FIELDS) and not any(name in headers for name in WISH_HEADERS):
        return AS_CONFIGURED
    retries, timeout_s, stream_timeout_s = (body.get(name) for name in ("num_retries", "timeout", "stream_timeout"))
    return Wishes(
        fallbacks=_chain(body, "fallbacks"),
        context_window_fallbacks=_chain(body, "context_window_fallbacks"),
        content_policy_fallbacks=_chain(body, "content_policy_fallbacks"),
        num_retries=_retries(headers) if retries is None else retries,
        timeout_s=_seconds(headers, _TIMEOUT_HEADER) if timeout_s is None else timeout_s,
        stream_timeout_s=_seconds(headers, _STREAM_TIMEOUT_HEADER) if stream_timeout_s is None else stream_timeout_s,
        request_timeout_s=body.get("request_timeout"),
    )


def _chain(body: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """Give the aliases of a chain; `None` where the body has none for the alias that it asks for."""
    if body.get("disable_fallbacks"):
        return ()
    written: Sequence[Any] | None = body.get(name)
    if written is None:
        return None
    if name == "fallbacks":
        return tuple(one if isinstance(one, str) else one["model"] for one in written)
    named = [_of_alias(one, body["model"]) for one in written]
    if named and all(aliases is None for aliases in named):
        return None
    return tuple(alias for aliases in named for alias in aliases or ())


def _of_alias(one: str | Mapping[str, Sequence[str]], alias: str) -> Sequence[str] | None:
    return (one,) if isinstance(one, str) else one.get(alias)


def _retries(headers: Mapping[str, str]) -> int | None:
    value = headers.get(_RETRIES_HEADER)
    if value is None:
        return None
    if not _WHOLE.fullmatch(value) or int(value) > MOST_RETRIES:
        raise _bad_header(_RETRIES_HEADER, value, f"a whole number from 0 to {MOST_RETRIES}")
    return int(value)


def _seconds(headers: Mapping[str, str], name: str) -> float | None:
    value = headers.get(name)
    if value is None:
        return None
    if not _DECIMAL.fullmatch(value) or not 0 < float(value) <= LONGEST_WAIT_S:
        raise _bad_header(name, value, f"a number of seconds over 0, up to {LONGEST_WAIT_S}")
    return float(value)


def _bad_header(name: str, value: str, accepted: str) -> BadRequest:
    return BadRequest(f"{name}: {value[:80]!r} is not accepted; send {accepted}.", param=name)
