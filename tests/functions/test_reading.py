"""Bodies that stop arriving, on real connections."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from functions.surface.edge import at_edge, json_response
from functions.surface.reading import Patience, read_json

HEAD = b"POST / HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"


@asynccontextmanager
async def reading(patience: Patience) -> AsyncGenerator[int]:
    """A server that reads bodies with so much patience, and its port."""

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_json(Request(scope, receive), limit_bytes=1000, patience=patience)
        await json_response(body)(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(at_edge(echo), port=0, lifespan="off", ws="none", log_level="critical"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def answer_to(port: int, *pieces: bytes, every_s: float) -> bytes:
    """Send a body that never gets whole, and give all that comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD)
    reading = asyncio.create_task(reader.read())
    for piece in pieces:
        writer.write(piece)
        await asyncio.wait([reading], timeout=every_s)
    async with asyncio.timeout(20):
        answer = await reading
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    ("patience", "pieces"),
    [(Patience(piece_s=0.2, body_s=60), [b"{"]), (Patience(piece_s=60, body_s=0.5), [b" "] * 3)],
    ids=["it stops", "it drips"],
)
async def test_a_body_that_does_not_arrive_in_time_is_refused(patience: Patience, pieces: list[bytes]) -> None:
    async with reading(patience) as port:
        head, _, body = (await answer_to(port, *pieces, every_s=0.05)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["code"] == "request_timeout"
