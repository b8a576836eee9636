"""`python -m tests.bench.translation`: the CPU that translation costs, per stream chunk and per request of 20 messages.

Bounds: 100 µs a chunk and 300 µs a request, at the median. Streams are recorded ones, where there are any.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

from functions.bootstrap import load_catalog
from functions.gateway.ports import ChatRequest
from functions.gateway.wire import ChunkRenderer, parse_chat_request
from functions.providers.anthropic import AnthropicWire
from functions.providers.google import GoogleWire
from functions.providers.openai import OpenAIWire
from functions.providers.sse import DataFramer
from functions.providers.upstream import Wire
from tests.builders import deployment
from tests.recorded.exchanges import recorded

CASSETTES = Path(__file__).parents[3] / "shared" / "cassettes"
ROUNDS = 300
WIRES: dict[str, tuple[Wire, str, str, str]] = {
    "openai": (OpenAIWire(), "gpt-4o", "openai", "chat.completions"),
    "anthropic": (AnthropicWire(), "claude-sonnet-4-6", "anthropic", "messages"),
    "gemini": (GoogleWire(), "gemini-2.5-pro", "google", "streamGenerateContent"),
}


def conversation() -> dict[str, Any]:
    """20 messages: texts, an image, parallel tool calls and their results, three tools."""
    turns: list[dict[str, Any]] = [{"role": "system", "content": "Be brief. " * 50}]
    for turn in range(4):
        ids = [f"call_{turn}_{place}__thought__{'A' * 80}" for place in (0, 1)]
        arguments = json.dumps({"city": "Prague", "days": turn})
        calls = [{"id": i, "type": "function", "function": {"name": "weather", "arguments": arguments}} for i in ids]
        turns += [
            {"role": "user", "content": [{"type": "text", "text": f"How is it in Prague? {turn} " * 10}]},
            {"role": "assistant", "content": None, "tool_calls": calls, "reasoning_content": "hm"},
            *[{"role": "tool", "tool_call_id": i, "content": '{"sky": "blue", "degrees": 21}'} for i in ids],
        ]
    turns += [
        {"role": "assistant", "content": "It is fine."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/sky.png"}}]},
        {"role": "user", "content": "And tomorrow?"},
    ]
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
    names = ("weather", "train", "hotel")
    tools = [{"type": "function", "function": {"name": name, "parameters": schema}} for name in names]
    return {"model": "m", "messages": turns, "tools": tools, "temperature": 0.5, "max_tokens": 500}


def median_us(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Give the median CPU time of one call, in microseconds."""
    times: list[int] = []
    for _ in range(rounds):
        started = time.thread_time_ns()
        work()
        times.append(time.thread_time_ns() - started)
    return statistics.median(times) / 1000


def requests() -> Iterable[tuple[str, float]]:
    """Measure the edge, and each wire's encoder."""
    raw = json.dumps(conversation()).encode()
    assert len(conversation()["messages"]) == 20
    yield "edge: parse and check", median_us(lambda: parse_chat_request(raw, drop_params=True))
    asked = parse_chat_request(raw, drop_params=True)
    for provider, (wire, upstream_model, _, _) in WIRES.items():
        yield f"{provider}: encode", median_us(_encoding(wire, provider, upstream_model, asked))


def _encoding(wire: Wire, provider: str, upstream_model: str, asked: ChatRequest) -> Callable[[], object]:
    model = load_catalog().models[provider, upstream_model]
    to = deployment(provider, upstream_model, model=model)
    return lambda: wire.encode(asked, to)


def chunks() -> Iterable[tuple[str, float, float]]:
    """Measure each event of the recorded streams: framed, parsed, decoded and rendered. Gives median and 99 %."""
    for provider, (wire, _, folder, api) in WIRES.items():
        times: list[int] = []
        for exchange in recorded(CASSETTES, folder, api):
            if exchange.sse and exchange.is_ok:
                times += _chunk_times(wire, [f"{event}{exchange.sse_eol * 2}".encode() for event in exchange.sse])
        yield provider, statistics.median(times) / 1000, statistics.quantiles(times, n=100)[-1] / 1000


def _chunk_times(wire: Wire, events: list[bytes]) -> Iterable[int]:
    framer, decoder = DataFramer(), wire.stream_decoder()
    renderer = ChunkRenderer(model="m", fallback_id="c", created=1, wants_usage=True)
    for event in events:
        started = time.thread_time_ns()
        for data in framer.feed(event):
            parsed = {"type": "[DONE]"} if data == b"[DONE]" else orjson.loads(data)
            if "error" in parsed:
                return
            for chunk in decoder.decode(parsed):
                renderer.render(chunk)
        yield time.thread_time_ns() - started


def main() -> None:
    """Print a table."""
    print("request of 20 messages            median")
    for name, median in requests():
        print(f"  {name:<28} {median:7.0f} µs")
    print("stream chunk                      median     99 %")
    for name, median, worst in chunks():
        print(f"  {name:<28} {median:7.1f} µs {worst:6.1f} µs")


if __name__ == "__main__":
    main()
