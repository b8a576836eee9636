"""Answers that come garbled, cut off, late or not at all: whole, or an honest error."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import orjson
import pytest

from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Chunk
from functions.gateway.verdicts import Verdict, judge
from functions.providers import sse
from functions.providers.anthropic import anthropic_upstream
from functions.providers.google import google_upstream
from functions.providers.openai import openai_upstream
from functions.providers.upstream import ProviderUpstream
from tests.builders import chat_request, deployment

UPSTREAMS: dict[str, Callable[[httpx2.AsyncClient], ProviderUpstream]] = {
    "openai": openai_upstream,
    "anthropic": anthropic_upstream,
    "gemini": google_upstream,
}
Piece = bytes | Exception | asyncio.Event


def event(**data: Any) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(data)


def openai(text: str | None = None, *, finish_reason: str | None = None, index: int = 0) -> bytes:
    return event(id="c-1", choices=[{"index": index, "delta": {"content": text}, "finish_reason": finish_reason}])


def claude(text: str) -> bytes:
    return event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def gemini(text: str, *, finish_reason: str | None = None) -> bytes:
    return event(candidates=[{"content": {"parts": [{"text": text}]}, "finishReason": finish_reason}])


STARTS = {
    "openai": openai("Hel"),
    "anthropic": b"".join([
        event(type="message_start", message={"id": "m-1", "content": [], "usage": {"input_tokens": 1}}),
        event(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
        claude("Hel"),
    ]),
    "gemini": gemini("Hel"),
}  # fmt: skip
MIDDLES = {"openai": openai("l"), "anthropic": claude("l"), "gemini": gemini("l")}
ENDS = {
    "openai": openai("o", finish_reason="stop"),
    "anthropic": b"".join([
        claude("o"),
        event(type="content_block_stop", index=0),
        event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}),
        event(type="message_stop"),
    ]),
    "gemini": gemini("o", finish_reason="STOP"),
}  # fmt: skip
UNREADABLE = {
    "openai": event(choices=["no object"]),
    "anthropic": event(type="content_block_delta", index=7, delta={"type": "text_delta", "text": "?"}),
    "gemini": event(candidates=[{"content": {"parts": [{"text": 5}]}}]),
}
USAGE = event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2})
NO_JSON = b'data: {"choices": [{"del\n\n'
NO_OBJECT = b"data: 5\n\n"
BROKEN = httpx2.ReadError("the connection was reset")


async def delivered(pieces: tuple[Piece, ...]) -> AsyncIterator[bytes]:
    """Send bytes, break the connection, or fall silent."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        elif isinstance(piece, Exception):
            raise piece
        else:
            await piece.wait()


async def stream(
    provider: str, *pieces: Piece, into: list[Chunk] | None = None, idle_timeout_s: float = 5, **body: Any
) -> list[Chunk]:
    """What becomes of a stream in these pieces; `into` has it even where it fails."""
    chunks = [] if into is None else into
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=delivered(pieces)))
    to = deployment(provider, "m", idle_timeout_s=idle_timeout_s)
    async with (
        asyncio.timeout(30),
        httpx2.AsyncClient(transport=transport) as http,
        UPSTREAMS[provider](http).stream(chat_request(stream=True, **body), to) as answer,
    ):
        async for chunk in answer:
            chunks.append(chunk)
    return chunks


async def failure(provider: str, *pieces: Piece, **given: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as failed:
        await stream(provider, *pieces, **given)
    return failed.value


def text_of(chunks: list[Chunk]) -> str:
    deltas: Iterator[dict[str, Any]] = (choice["delta"] for chunk in chunks for choice in chunk.choices)
    return "".join(delta.get("content") or "" for delta in deltas)


def malformed_in(chunks: list[Chunk]) -> int:
    return sum(chunk.malformed for chunk in chunks)


# --- garbled events ---------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", UPSTREAMS)
@pytest.mark.parametrize("garbled", [NO_JSON, NO_OBJECT, b"", b"data: \xff\n\n", b"data: []\n\n"])
async def test_a_malformed_event_is_passed_over(provider: str, garbled: bytes) -> None:
    chunks = await stream(provider, STARTS[provider], garbled or UNREADABLE[provider], ENDS[provider])

    assert text_of(chunks) == "Helo"
    assert malformed_in(chunks) == 1


async def test_a_malformed_event_after_the_last_chunk_counts() -> None:
    assert malformed_in(await stream("openai", STARTS["openai"], ENDS["openai"], NO_JSON)) == 1


@pytest.mark.parametrize("provider", UPSTREAMS)
async def test_two_malformed_events_in_a_row_end_the_attempt(provider: str) -> None:
    chunks: list[Chunk] = []

    failed = await failure(provider, STARTS[provider], NO_JSON, UNREADABLE[provider], ENDS[provider], into=chunks)

    assert failed.status == "invalid_response"
    assert judge(failed) is Verdict.RETRY
    assert malformed_in(chunks) == 2


async def test_three_malformed_events_of_a_stream_are_borne() -> None:
    chunks = await stream("openai", STARTS["openai"], *[NO_JSON, MIDDLES["openai"]] * 3, ENDS["openai"])

    assert text_of(chunks) == "Hellllo"
    assert malformed_in(chunks) == 3


async def test_a_fourth_malformed_event_ends_the_attempt() -> None:
    failed = await failure("openai", STARTS["openai"], *[NO_JSON, MIDDLES["openai"]] * 4, ENDS["openai"])

    assert failed.status == "invalid_response"


async def test_an_empty_event_between_them_leaves_two_malformed_ones_in_a_row() -> None:
    assert (await failure("openai", STARTS["openai"], NO_JSON, b"data:\n\n", NO_JSON)).status == "invalid_response"


async def test_a_whole_answer_bears_whatever_comes_after_it() -> None:
    chunks = await stream("openai", STARTS["openai"], ENDS["openai"], *[NO_JSON] * 5)

    assert text_of(chunks) == "Helo"


async def test_an_end_that_was_garbled_is_none() -> None:
    failed = await failure("openai", STARTS["openai"], b"data: {%b\n\n" % ENDS["openai"][6:-2], b"data: [DONE]\n\n")

    assert failed.status == "broken_stream"


@pytest.mark.parametrize("provider", UPSTREAMS)
async def test_an_error_in_the_band_is_not_passed_over(provider: str) -> None:
    failed = await failure(provider, STARTS[provider], event(error={"code": 503, "message": "busy"}), ENDS[provider])

    assert failed.status == 503


# --- after the end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", UPSTREAMS)
async def test_a_connection_that_breaks_after_the_end_has_delivered_a_whole_answer(provider: str) -> None:
    assert text_of(await stream(provider, STARTS[provider], ENDS[provider], BROKEN)) == "Helo"


@pytest.mark.parametrize("provider", UPSTREAMS)
async def test_an_error_after_the_end_does_not_break_what_is_whole(provider: str) -> None:
    error = event(error={"message": "too late", "code": 500, "status": "INTERNAL", "type": "api_error"})

    chunks = await stream(provider, STARTS[provider], MIDDLES[provider], ENDS[provider], error)

    assert text_of(chunks) == "Hello"


async def test_bytes_that_are_no_text_lose_nothing_but_themselves() -> None:
    garbled = openai("l@").replace(b"@", b"\xff")

    chunks = await stream("openai", STARTS["openai"], garbled, ENDS["openai"])

    assert (text_of(chunks), malformed_in(chunks)) == ("Hell\ufffdo", 0)


async def test_a_silence_after_the_end_is_not_waited_out() -> None:
    started = asyncio.get_running_loop().time()

    chunks = await stream("openai", STARTS["openai"], ENDS["openai"], asyncio.Event(), idle_timeout_s=25)

    assert text_of(chunks) == "Helo"
    assert asyncio.get_running_loop().time() - started < 10


@pytest.mark.parametrize("provider", UPSTREAMS)
async def test_a_silence_after_the_end_has_delivered_a_whole_answer(provider: str) -> None:
    chunks = await stream(provider, STARTS[provider], ENDS[provider], asyncio.Event(), idle_timeout_s=0.05)

    assert text_of(chunks) == "Helo"


@pytest.mark.parametrize("ping", [b": keep-alive\n\n", USAGE, openai(finish_reason="stop")])
async def test_what_comes_after_the_end_again_and_again_keeps_nobody_waiting(ping: bytes) -> None:
    async def pinging() -> AsyncIterator[bytes]:
        yield STARTS["openai"] + ENDS["openai"]
        while True:
            await asyncio.sleep(0.01)
            yield ping

    response = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=pinging())
    async with (
        asyncio.timeout(20),
        httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: response)) as http,
        openai_upstream(http).stream(chat_request(stream=True), deployment(idle_timeout_s=0.1)) as chunks,
    ):
        assert text_of([chunk async for chunk in chunks]) == "Helo"


async def test_usage_that_comes_after_the_end_is_read() -> None:
    [*_, last] = await stream("openai", STARTS["openai"], ENDS["openai"], USAGE, BROKEN)

    assert last.usage is not None
    assert last.usage.input_tokens == 3


async def test_an_event_that_was_cut_off_after_the_end_is_left_out() -> None:
    chunks = await stream("openai", STARTS["openai"], ENDS["openai"], b'data: {"choices":[],"usa', BROKEN)

    assert (text_of(chunks), malformed_in(chunks)) == ("Helo", 0)


async def test_an_end_that_another_event_went_on_after_was_none() -> None:
    failed = await failure("gemini", gemini("Hel", finish_reason="STOP"), ENDS["gemini"], BROKEN)

    assert failed.status == "broken_stream"


@pytest.mark.parametrize("broken", [BROKEN, asyncio.Event()], ids=["broken", "silent"])
async def test_of_several_choices_the_end_of_the_first_is_not_that_of_all(broken: Piece) -> None:
    first = openai("Hello", finish_reason="stop")

    assert (await failure("openai", first, broken, n=2, idle_timeout_s=0.05)).status in ("broken_stream", "timeout")


async def test_several_choices_have_ended_once_the_stream_says_that_it_is_done() -> None:
    both = [openai("Hello", finish_reason="stop", index=index) for index in (0, 1)]

    assert text_of(await stream("openai", *both, b"data: [DONE]\n\n", BROKEN, n=2)) == "HelloHello"


# --- before the end ---------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", UPSTREAMS)
async def test_a_connection_that_breaks_before_the_end_is_a_broken_stream(provider: str) -> None:
    failed = await failure(provider, STARTS[provider], BROKEN)

    assert (failed.status, judge(failed)) == ("broken_stream", Verdict.RETRY)


@pytest.mark.parametrize("provider", UPSTREAMS)
async def test_a_connection_that_ends_before_the_end_is_a_broken_stream(provider: str) -> None:
    assert (await failure(provider, STARTS[provider])).status == "broken_stream"


@pytest.mark.parametrize("provider", UPSTREAMS)
async def test_a_silence_before_the_end_is_a_timeout(provider: str) -> None:
    failed = await failure(provider, STARTS[provider], asyncio.Event(), idle_timeout_s=0.05)

    assert (failed.status, judge(failed)) == ("timeout", Verdict.FALL_BACK)


STRAY = (
    b'{\n  "error": {\n    "code": 499,\n    "message": "The operation was cancelled.",\n    "status": "CANCELLED"\n  }'
)


@pytest.mark.parametrize("last", [b"}", b"\n}", b"\r\n}\r\n", b"\n}\n\n"])
async def test_an_error_that_is_no_event_is_told(last: bytes) -> None:
    ended = gemini("Hello", finish_reason="STOP")

    for ending in ((), (BROKEN,), (asyncio.Event(),)):
        assert (await failure("gemini", ended, STRAY, last, *ending, idle_timeout_s=0.05)).status == 499


async def test_an_error_that_is_no_event_says_why_a_stream_broke() -> None:
    for ending in (BROKEN, asyncio.Event()):
        failed = await failure("gemini", STARTS["gemini"], STRAY, b"\n}\n", ending, idle_timeout_s=0.05)
        assert failed.status == 499


async def test_an_error_that_is_no_event_counts_even_if_it_was_cut_off() -> None:
    for ending in ((), (BROKEN,)):
        assert (await failure("gemini", ENDS["gemini"], STRAY, *ending)).status == "broken_stream"


async def test_a_page_in_place_of_a_stream_is_a_failure() -> None:
    failed = await failure("openai", b"<!DOCTYPE html>\n<html><body>Bad gateway</body></html>\n")

    assert judge(failed) is Verdict.RETRY


# --- lines ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eol", [b"\r", b"\r\n", b"\n"])
@pytest.mark.parametrize("provider", UPSTREAMS)
async def test_lines_may_end_in_any_way(provider: str, eol: bytes) -> None:
    content = (STARTS[provider] + ENDS[provider]).replace(b"\n", eol)

    assert text_of(await stream(provider, *(content[at : at + 1] for at in range(len(content))))) == "Helo"


@pytest.mark.parametrize("piece", [b"x" * 700, b"data: " + b"x" * 700 + b"\n"], ids=["line", "event"])
async def test_an_event_without_end_is_an_invalid_response(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST_EVENT_BYTES", 2_000)

    assert (await failure("openai", STARTS["openai"], *[piece] * 3, asyncio.Event())).status == "invalid_response"


async def test_a_stream_may_be_longer_than_its_longest_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST_EVENT_BYTES", 2_000)

    chunks = await stream("openai", *[openai("l"), b": keep-alive\n\n"] * 100, ENDS["openai"])

    assert len(text_of(chunks)) == 101


# --- connections ------------------------------------------------------------------------------------

MESSAGE = {"role": "assistant", "content": "Hello"}
COMPLETION = orjson.dumps({"id": "c-1", "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]})


@asynccontextmanager
async def serving(head: bytes, content: bytes) -> AsyncGenerator[str]:
    """A server that answers every request with these bytes, and closes the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + content)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1"


async def completed(head: bytes, content: bytes) -> str:
    async with asyncio.timeout(20), serving(head, content) as url, httpx2.AsyncClient() as http:
        answer = await openai_upstream(http).complete(chat_request(), deployment(api_base=url))
    return answer.choices[0]["message"]["content"]


def length(content: bytes, *, less: int = 0) -> bytes:
    return b"content-type: application/json\r\ncontent-length: %d" % (len(content) - less)


def chunked(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


async def test_a_body_as_long_as_it_says_is_an_answer() -> None:
    assert await completed(length(COMPLETION), COMPLETION) == "Hello"


@pytest.mark.parametrize("cut", [1, 20, len(COMPLETION)])
async def test_a_body_shorter_than_it_says_is_a_broken_connection(cut: int) -> None:
    with pytest.raises(UpstreamError) as failed:
        await completed(length(COMPLETION), COMPLETION[:-cut])

    assert (failed.value.status, judge(failed.value)) == ("connection_error", Verdict.RETRY)


async def test_a_whole_object_in_a_body_that_says_it_is_longer_is_not_trusted() -> None:
    with pytest.raises(UpstreamError) as failed:
        await completed(length(COMPLETION, less=-1), COMPLETION)
    assert failed.value.status == "connection_error"


async def test_a_body_in_chunks_without_the_last_is_a_broken_connection() -> None:
    with pytest.raises(UpstreamError) as failed:
        await completed(b"content-type: application/json\r\ntransfer-encoding: chunked", chunked(COMPLETION))
    assert failed.value.status == "connection_error"


@pytest.mark.parametrize("content", [COMPLETION + b"}", COMPLETION * 2, COMPLETION + b"\x00", COMPLETION[:-1], b""])
async def test_a_body_that_is_not_one_object_is_an_invalid_response(content: bytes) -> None:
    with pytest.raises(UpstreamError) as failed:
        await completed(length(content), content)

    assert (failed.value.status, judge(failed.value)) == ("invalid_response", Verdict.RETRY)


async def streamed_by_a_server(content: bytes) -> str:
    head = b"content-type: text/event-stream\r\ntransfer-encoding: chunked"
    async with (
        asyncio.timeout(20),
        serving(head, chunked(content)) as url,
        httpx2.AsyncClient() as http,
        openai_upstream(http).stream(chat_request(stream=True), deployment(api_base=url)) as chunks,
    ):
        return text_of([chunk async for chunk in chunks])


async def test_a_server_that_is_gone_before_the_end_has_broken_the_stream() -> None:
    with pytest.raises(UpstreamError) as failed:
        await streamed_by_a_server(STARTS["openai"])
    assert failed.value.status == "broken_stream"


async def test_a_server_that_is_gone_after_the_end_has_delivered_a_whole_answer() -> None:
    assert await streamed_by_a_server(STARTS["openai"] + ENDS["openai"]) == "Helo"
