"""What a provider said instead of an answer, as an `UpstreamError`."""

import email.utils
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import httpx2
import orjson

from functions.gateway.errors import UpstreamError
from functions.gateway.exact_json import write_json

_LONGEST_MESSAGE = 500
_GOOGLE_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)s")
_QUANTITY = r"([0-9]+(?:\.[0-9]+)?)\s?(ms|[dhms])[a-z]*"  # 174ms, 6m0s, 20 seconds
_WAIT_IN_WORDS = re.compile(rf"(?:try again|retry) (?:in|after) ((?:{_QUANTITY}\s?)+)", re.IGNORECASE)
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONG_PERIOD = re.compile(r"per_?(hour|day|week|month)", re.IGNORECASE)

# https://platform.claude.com/docs/en/api/errors, https://cloud.google.com/apis/design/errors#handling_errors: inside a
# stream these come without a status of their own, or with one that is a word.
_STATUS_OF_NAME = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "invalid_prompt": 400,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "service_unavailable_error": 503,
    "server_is_overloaded": 503,
    "timeout_error": 504,
    "overloaded_error": 529,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "resource_exhausted": 429,
    "cancelled": 499,
    "internal": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
}


def refused(response: httpx2.Response) -> UpstreamError:
    """Describe an error answer whose body has been read."""
    return _described(response.status_code, _json(response.content), response.text, response.headers)


def refused_in_band(body: Any) -> UpstreamError:
    """Describe an error object that came inside a 200 or a stream, by the status that its code or type stands for."""
    return _described(_status_in(_error_of(body)), body, write_json(body).decode(), {})


def is_error(body: Any) -> bool:
    """Say whether this JSON value is an error object of any of the three wires."""
    return bool(_error_of(body))


def error_in(text: bytes) -> UpstreamError | None:
    """Describe the error object that this text is, if it is one."""
    body = _json(text)
    return refused_in_band(body) if is_error(body) else None


def unreadable(content: bytes) -> UpstreamError:
    """Describe a 200 that holds no answer, such as a proxy's HTML page."""
    return UpstreamError("invalid_response", f"not an answer: {content[:100].decode(errors='replace')!r}")


def _status_in(error: Mapping[str, Any]) -> int:
    """Read the status of an error in the band: its own number, or what its names stand for, the nearest name first."""
    for name in ("code", "status"):
        if (status := _http_status(error.get(name))) is not None:
            return status
    names = (str(error.get(name)).lower() for name in ("code", "type", "status"))
    return next((_STATUS_OF_NAME[name] for name in names if name in _STATUS_OF_NAME), 500)


def _http_status(value: Any) -> int | None:
    """Read a status that may be written as text."""
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) == 3 else value
    return number if isinstance(number, int) and 400 <= number < 600 else None


def _described(status: int, body: Any, text: str, headers: Mapping[str, str]) -> UpstreamError:
    error = _error_of(body)
    details = _details(error)
    reason = next((detail["reason"] for detail in details if "reason" in detail), None)
    code = error.get("code")
    message = str(error.get("message") or text)
    return UpstreamError(
        status,
        message[:_LONGEST_MESSAGE],
        kind=_text(error.get("type") or error.get("status")),
        code=_text(reason or (code if isinstance(code, str) else None)),
        param=_text(error.get("param")),
        retry_after_s=_retry_after_s(headers, details, message),
        is_lasting=any(map(_is_lasting, _quotas(details))),
    )


def _error_of(body: Any) -> dict[str, Any]:
    if isinstance(body, list) and body:  # Google answers a streamed request with a list of one
        body = cast("list[Any]", body)[0]
    if not isinstance(body, dict):
        return {}
    said = cast("dict[str, Any]", body)
    error = said.get("error")
    if isinstance(error, str):
        return {"message": error}
    if not error and said.get("object") == "error":  # Mistral, and vLLM of old: the error is not wrapped
        return said
    return cast("dict[str, Any]", error) if isinstance(error, dict) else {}


def _details(error: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give Google's error details (https://cloud.google.com/apis/design/errors#error_details)."""
    return _objects(error.get("details"))


def _objects(value: Any) -> list[dict[str, Any]]:
    """Give the objects of a list, or none in place of anything else."""
    if not isinstance(value, list):
        return []
    return [cast("dict[str, Any]", entry) for entry in cast("list[Any]", value) if isinstance(entry, dict)]


def _quotas(details: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, Any]]:
    """Give the name and the value of each quota that was exceeded: of a `QuotaFailure`, or of an `ErrorInfo`."""
    for detail in details:
        for violation in _objects(detail.get("violations")):
            yield str(violation.get("quotaId")), violation.get("quotaValue")
        for metadata in _objects([detail.get("metadata")]):
            yield str(metadata.get("quota_limit")), metadata.get("quota_limit_value")


def _is_lasting(quota: tuple[str, Any]) -> bool:
    """Say whether no wait helps: of a day's quota, `RetryInfo` names only the next minute; one of zero allows nothing.

    Source: https://ai.google.dev/gemini-api/docs/rate-limits
    """
    name, value = quota
    return bool(_LONG_PERIOD.search(name)) or str(value) == "0"


def _retry_after_s(headers: Mapping[str, str], details: list[dict[str, Any]], message: str) -> float | None:
    """Read the provider's wish, in seconds: milliseconds, seconds, an HTTP date, Google's `RetryInfo`, or its words."""
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return ms / 1000
    value = headers.get("retry-after")
    wishes = (_number(value), _seconds_until(value), _google_delay_s(details), _said_s(message))
    return next((wish for wish in wishes if wish is not None), None)


def _google_delay_s(details: list[dict[str, Any]]) -> float | None:
    for detail in details:
        if match := _GOOGLE_DURATION.fullmatch(str(detail.get("retryDelay"))):
            return float(match[1])
    return None


def _said_s(message: str) -> float | None:
    """Read OpenAI's "Please try again in 6m0.5s", which compatible servers and Google word likewise."""
    if (wait := _WAIT_IN_WORDS.search(message[: 4 * _LONGEST_MESSAGE])) is None:
        return None
    return sum(float(amount) * _UNITS_S[unit.lower()] for amount, unit in re.findall(_QUANTITY, wait[1], re.IGNORECASE))


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return max(0.0, number) if number is not None and math.isfinite(number) else None


def _seconds_until(date: str | None) -> float | None:
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(date or "") - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _text(value: Any) -> str | None:
    return str(value) if value else None


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
