"""Reading requests: bodies within their limits of size and time, declared as JSON."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from starlette.requests import Request

from functions.gateway.errors import BadRequest, BodyTooLarge, RequestTimeout, UnsupportedMediaType


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a body may take, in seconds: from one piece to the next, and in all."""

    piece_s: float = 30
    body_s: float = 300


async def read_json(request: Request, *, limit_bytes: int, patience: Patience = Patience()) -> bytes:
    """Give the body's bytes.

    Raises `UnsupportedMediaType`, `BodyTooLarge` (before reading it all), `RequestTimeout`, `BadRequest`.
    """
    _check_content_type(request.headers)
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal():
        raise BadRequest("Content-Length is not a number.", code="invalid_header")
    if int(declared) > limit_bytes:
        raise BodyTooLarge(limit_bytes)
    body = bytearray()
    async with aclosing(_in_time(request.stream(), patience)) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > limit_bytes:
                raise BodyTooLarge(limit_bytes)
    return bytes(body)


async def _in_time(pieces: AsyncIterator[bytes], patience: Patience) -> AsyncGenerator[bytes]:
    clock = asyncio.get_running_loop().time
    until = clock() + patience.body_s
    while True:
        try:
            async with asyncio.timeout_at(min(until, clock() + patience.piece_s)):
                piece = await anext(pieces, None)
        except TimeoutError as error:
            raise RequestTimeout(_too_slow(patience)) from error
        if piece is None:
            return
        yield piece


def _too_slow(patience: Patience) -> str:
    return (
        f"The request body did not arrive in time: a piece every {patience.piece_s:g} s, and all of it within "
        f"{patience.body_s:g} s. Send it again."
    )


def _check_content_type(headers: Mapping[str, str]) -> None:
    content_type = headers.get("content-type", "application/json")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType(content_type)
