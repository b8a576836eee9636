"""From the bytes of a stream to its chunks, as networks and servers cut and end them."""

import re
import time
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Chunk
from functions.providers.anthropic import anthropic_upstream
from functions.providers.google import google_upstream
from functions.providers.openai import openai_upstream
from functions.providers.sse import DataFramer
from functions.providers.upstream import ProviderUpstream
from tests.builders import chat_request, deployment

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

OPENAI = b"""\
data: {"choices":[{"delta":{"content":"Hello"}}]}

data: {"choices":[{"delta":{},"finish_reason":"stop"}]}

data: [DONE]

"""
ANTHROPIC = b"""\
data: {"type":"message_start","message":{"id":"msg_1","usage":{"input_tokens":1}}}

data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hello"}}

data: {"type":"content_block_stop","index":0}

data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}

data: {"type":"message_stop"}

"""
GOOGLE = b"""\
data: {"candidates":[{"content":{"parts":[{"text":"Hello"}]}}]}

data: {"candidates":[{"content":{"parts":[]},"finishReason":"STOP"}]}

"""
STREAMS = {"openai": OPENAI, "anthropic": ANTHROPIC, "gemini": GOOGLE}
UPSTREAMS = {"openai": openai_upstream, "anthropic": anthropic_upstream, "gemini": google_upstream}


async def streamed(provider: str, content: bytes) -> list[Chunk]:
    """What becomes of a body that comes as a stream."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=content)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        upstream: ProviderUpstream = UPSTREAMS[provider](http)
        async with upstream.stream(chat_request(stream=True), deployment(provider, "m")) as chunks:
            return [chunk async for chunk in chunks]


def text_of(chunks: list[Chunk]) -> str:
    deltas: list[dict[str, Any]] = [choice["delta"] for chunk in chunks for choice in chunk.choices]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.parametrize("provider", STREAMS)
async def test_a_byte_order_mark_before_a_stream_is_not_part_of_it(provider: str) -> None:
    plain = await streamed(provider, STREAMS[provider])

    assert text_of(plain) == "Hello"
    assert await streamed(provider, BYTE_ORDER_MARK + STREAMS[provider]) == plain


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("provider", STREAMS)
async def test_the_last_event_counts_without_its_blank_line(provider: str, ending: bytes) -> None:
    assert text_of(await streamed(provider, STREAMS[provider].rstrip() + ending)) == "Hello"


@pytest.mark.parametrize(
    "cut", [b"data: {", b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]', b"data: 5", b"da"]
)
async def test_an_event_that_was_cut_off_is_none(cut: bytes) -> None:
    with pytest.raises(UpstreamError) as broken:
        await streamed("openai", OPENAI.partition(b"\n\n")[0] + b"\n\n" + cut)
    assert broken.value.status == "broken_stream"


async def test_done_ends_no_choice_that_has_no_reason_yet() -> None:
    with pytest.raises(UpstreamError) as broken:
        await streamed("openai", b'data: {"choices":[{"delta":{"content":"half"}}]}\n\ndata: [DONE]\n\n')
    assert broken.value.status == "broken_stream"


async def test_an_error_in_the_last_event_is_told_without_its_blank_line() -> None:
    with pytest.raises(UpstreamError) as refused:
        await streamed("openai", b'data: {"error":{"message":"too many","code":429}}')
    assert refused.value.status == 429


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_the_same_wherever_the_network_cuts(size: int) -> None:
    content = BYTE_ORDER_MARK + b": comment\r\ndata: a\r\ndata:b\r\n\r\nevent: x\ndata: \xc3\xa9\n\n"
    framer = DataFramer()

    pieces = (content[start : start + size] for start in range(0, len(content), size))
    assert [data for piece in pieces for data in framer.feed(piece)] == [b"a\nb", b"\xc3\xa9"]


@given(
    st.lists(st.sampled_from([b"data: a", b"data:b", b": c", b"x", b"\n", b"\r", b"\r\n", b"\n\n"])).map(b"".join),
    st.lists(st.integers(0, 40)),
)
def test_events_are_those_of_the_standard_wherever_the_network_cuts(content: bytes, cuts: list[int]) -> None:
    framer, bounds = DataFramer(), sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})

    framed = [data for start, end in pairwise(bounds) for data in framer.feed(content[start:end])]

    assert framed + framer.end() == standard_events(content + b"\n\n")


def standard_events(content: bytes) -> list[bytes]:
    """Give the data of whole events, by the standard's own rule: a line ends in CRLF, LF or CR."""
    blocks = re.split(rb"\n\n+", re.sub(rb"\r\n|\r", b"\n", content))
    fields = [re.findall(rb"^data: ?(.*)$", block, re.MULTILINE) for block in blocks]
    return [b"\n".join(data) for data in fields if data]


def test_what_is_no_field_is_kept_apart() -> None:
    framer = DataFramer()

    assert framer.feed(b'event: x\nid: 1\nretry: 5\n: hi\n{\n  "error": 1\r\n}\ndata: a\n\n') == [b"a"]
    assert framer.stray == b'{\n  "error": 1\n}'


def test_of_much_that_is_no_field_the_beginning_is_kept() -> None:
    framer = DataFramer()
    for _ in range(1000):
        framer.feed(b"x" * 1000 + b"\n")

    assert len(framer.stray) < 70_000


def test_a_long_line_in_many_pieces_takes_no_longer_than_its_length() -> None:
    framer, started = DataFramer(), time.thread_time()
    for _ in range(8_000):
        framer.feed(b"x" * 1_000)
    assert framer.feed(b"\n\n") == []

    assert time.thread_time() - started < 1
