"""Connections that are kept open, and what is made of those that the other end has given up."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import pytest

from functions.gateway.errors import STALE_CONNECTION, UpstreamError
from functions.providers.connections import Connections
from functions.providers.openai import openai_upstream
from tests.builders import chat_request, deployment

ANSWER = (
    b'{"id": "c", "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1},'
    b' "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}'
)


class Forgetful:
    """A server that answers on every connection, until it has forgotten those that it had."""

    def __init__(self) -> None:
        self.forgotten = 0  # connections of before are reset when they are used
        self.connections = 0
        self.is_held = asyncio.Event()
        self.is_held.set()
        self.has_ten = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        if number == 10:
            self.has_ten.set()
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                if number <= self.forgotten:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                    return
                await self.is_held.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                writer.write(b"content-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def forgetful() -> AsyncGenerator[tuple[Forgetful, str]]:
    server = Forgetful()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        yield server, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"


async def test_one_stale_connection_costs_one_attempt_and_not_one_for_each_that_was_kept() -> None:
    async with forgetful() as (server, url), httpx2.AsyncClient(transport=Connections()) as http:
        upstream, to = openai_upstream(http), deployment(api_base=url)
        server.is_held.clear()
        burst = [asyncio.create_task(upstream.complete(chat_request(), to)) for _ in range(10)]
        await asyncio.wait_for(server.has_ten.wait(), 20)
        server.is_held.set()
        await asyncio.gather(*burst)
        server.forgotten = server.connections

        with pytest.raises(UpstreamError) as broken:
            await upstream.complete(chat_request(), to)
        assert (broken.value.status, broken.value.code) == ("connection_error", STALE_CONNECTION)
        for _ in range(3):
            await upstream.complete(chat_request(), to)

        assert server.connections == 11


async def test_a_new_connection_that_breaks_is_the_deployments_own_failure() -> None:
    async with forgetful() as (server, url), httpx2.AsyncClient(transport=Connections()) as http:
        server.forgotten = 100

        with pytest.raises(UpstreamError) as broken:
            await openai_upstream(http).complete(chat_request(), deployment(api_base=url))

        assert (broken.value.status, broken.value.code) == ("connection_error", None)
