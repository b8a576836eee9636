"""Alerts to webhooks that answer badly, on real connections."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from functions.adapters.webhook import open_webhook
from functions.gateway.ports import AlertNotDelivered
from tests.builders import threshold_crossed

Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def serving(answer: Answering) -> AsyncGenerator[str]:
    """A webhook that takes each request's head, and answers it."""

    handlers: set[asyncio.Task[None] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        with suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield "http://127.0.0.1:{1}/secret".format(*server.sockets[0].getsockname())
    async with asyncio.timeout(20):
        await asyncio.gather(*filter(None, handlers))


async def send_to(url: str, *, within_s: float = 5) -> None:
    """Send an alert; that the sender is bounded itself shows in that this bound is never met."""
    async with asyncio.timeout(20), open_webhook(url, within_s=within_s) as webhook:
        await webhook.send(threshold_crossed())


def saying(head: bytes) -> Answering:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await writer.drain()

    return answer


async def endless_body(writer: asyncio.StreamWriter) -> None:
    writer.write(OK)
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


async def dripping_body(writer: asyncio.StreamWriter) -> None:
    await dripping(writer, OK, b"1\r\nx\r\n")


async def dripping_head(writer: asyncio.StreamWriter) -> None:
    await dripping(writer, b"HTTP/1.1 200 OK\r\n", b"x-more: 1\r\n")


async def dripping(writer: asyncio.StreamWriter, start: bytes, drop: bytes) -> None:
    writer.write(start)
    while True:
        writer.write(drop)
        await writer.drain()
        await asyncio.sleep(0.02)


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("answer", [endless_body, dripping_body])
async def test_an_alert_is_delivered_with_the_status_whatever_the_body(answer: Answering) -> None:
    async with serving(answer) as url:
        await send_to(url)


async def test_an_answer_that_drips_is_given_up_in_time() -> None:
    async with serving(dripping_head) as url:
        with pytest.raises(AlertNotDelivered, match="TimeoutError"):
            await send_to(url, within_s=0.2)


@pytest.mark.parametrize("status", ["302 Found\r\nlocation: http://127.0.0.1:1/", "410 Gone", "503 Down"])
async def test_what_is_not_2xx_is_a_refusal(status: str) -> None:
    async with serving(saying(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())) as url:
        with pytest.raises(AlertNotDelivered, match=f"answered {status[:3]}"):
            await send_to(url)


async def test_a_reset_is_not_delivered() -> None:
    async with serving(reset) as url:
        with pytest.raises(AlertNotDelivered, match="can't be reached"):
            await send_to(url)


async def test_an_impossible_url_is_not_delivered_nor_shown() -> None:
    with pytest.raises(AlertNotDelivered) as refused:
        await send_to("http://secret:port/")

    assert "secret" not in str(refused.value)
