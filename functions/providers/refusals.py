"""What a provider said instead of an answer, as an `UpstreamError`."""

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import httpx2
import orjson

from functions.gateway.errors import UpstreamError
from functions.gateway.exact_json import write_json

_LONGEST_MESSAGE = 500
_GOOGLE_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)s")

# https://platform.claude.com/docs/en/api/errors: in a stream these come without a status of their own.
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def refused(response: httpx2.Response) -> UpstreamError:
    """Describe an error answer whose body has been read."""
    return _described(response.status_code, _json(response.content), response.text, response.headers)


def refused_in_band(body: Any) -> UpstreamError:
    """Describe an error object that came inside a 200 or a stream, by the status that its type or code stands for."""
    error = _error_of(body)
    code = error.get("code")
    known = _STATUS_OF_TYPE.get(str(error.get("type"))) or _STATUS_OF_TYPE.get(str(code))
    status = code if isinstance(code, int) and 400 <= code < 600 else known or 500
    return _described(status, body, write_json(body).decode(), {})


def is_error(body: Any) -> bool:
    """Say whether this JSON value is an error object of any of the three wires."""
    return bool(_error_of(body))


def unreadable(content: bytes) -> UpstreamError:
    """Describe a 200 that holds no answer, such as a proxy's HTML page."""
    return UpstreamError("invalid_response", f"not an answer: {content[:100].decode(errors='replace')!r}")


def _described(status: int, body: Any, text: str, headers: Mapping[str, str]) -> UpstreamError:
    error = _error_of(body)
    details = _details(error)
    reason = next((detail["reason"] for detail in details if "reason" in detail), None)
    code = error.get("code")
    return UpstreamError(
        status,
        str(error.get("message") or text)[:_LONGEST_MESSAGE],
        kind=_text(error.get("type") or error.get("status")),
        code=_text(reason or (code if isinstance(code, str) else None)),
        param=_text(error.get("param")),
        retry_after_s=_retry_after_s(headers, details),
    )


def _error_of(body: Any) -> dict[str, Any]:
    if isinstance(body, list) and body:  # Google answers a streamed request with a list of one
        body = cast("list[Any]", body)[0]
    error = cast("dict[str, Any]", body).get("error") if isinstance(body, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return cast("dict[str, Any]", error) if isinstance(error, dict) else {}


def _details(error: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give Google's error details (https://cloud.google.com/apis/design/errors#error_details)."""
    details = error.get("details")
    return cast("list[dict[str, Any]]", details) if isinstance(details, list) else []


def _retry_after_s(headers: Mapping[str, str], details: list[dict[str, Any]]) -> float | None:
    """Read the provider's wish, in seconds: milliseconds, seconds, an HTTP date, or Google's `RetryInfo`."""
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return ms / 1000
    value = headers.get("retry-after")
    if value is not None:
        return _number(value) if _number(value) is not None else _seconds_until(value)
    for detail in details:
        if match := _GOOGLE_DURATION.fullmatch(str(detail.get("retryDelay"))):
            return float(match[1])
    return None


def _number(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:
        return None


def _seconds_until(date: str) -> float | None:
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str | None:
    return str(value) if value else None


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
