"""Reading requests: bodies within their limit, declared as JSON."""

from collections.abc import Mapping

from starlette.requests import Request

from functions.gateway.errors import BadRequest, BodyTooLarge, UnsupportedMediaType


async def read_json(request: Request, *, limit_bytes: int) -> bytes:
    """Give the body's bytes. Raises `UnsupportedMediaType`, `BodyTooLarge` (before reading it all), `BadRequest`."""
    _check_content_type(request.headers)
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal():
        raise BadRequest("Content-Length is not a number.", code="invalid_header")
    if int(declared) > limit_bytes:
        raise BodyTooLarge(limit_bytes)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit_bytes:
            raise BodyTooLarge(limit_bytes)
    return bytes(body)


def _check_content_type(headers: Mapping[str, str]) -> None:
    content_type = headers.get("content-type", "application/json")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType(content_type)
