"""A client of the gateway that trusts nothing: it notes what it was sent, and how long that took."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2

from tests.faults.wires import CALL, right_answer

Outcome = Literal["answer", "error", "curtailed", "truncated", "broken", "hang", "odd"]
TOOLS = [
    {
        "type": "function",
        "function": {"name": CALL[0], "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
]


@dataclass(slots=True, kw_only=True)
class Received:
    """What came for one request. `outcome` judges it against the right answer.

    `curtailed` is an answer whose finish reason says that it was refused, or is not whole; one that doesn't is
    `truncated`.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0
    first_s: float | None = None  # until the first piece of a streamed answer
    text: str = ""
    call: str = ""
    finish_reason: str | None = None
    is_done: bool = False
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    outcome: Outcome = "odd"

    @property
    def attempts(self) -> list[str]:
        """Say who was asked and what came of it, as far as the answer's headers tell."""
        return [entry for entry in self.headers.get("x-gateway-attempts", "").split(", ") if entry]


async def ask(
    client: httpx2.AsyncClient,
    alias: str,
    prompt: str,
    *,
    is_stream: bool,
    wants_call: bool = False,
    within_s: float,
    call_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Received:
    """Ask the gateway for an answer, and judge what comes."""
    body: dict[str, Any] = {"model": alias, "messages": [{"role": "user", "content": prompt}], "stream": is_stream}
    body |= {"tools": TOOLS, "tool_choice": "required"} if wants_call else {}
    body |= fields
    ids = {"x-litellm-call-id": call_id} if call_id else {}
    received = Received()
    started = time.monotonic()
    try:
        async with _within(client, body, {**ids, **(headers or {})}, within_s) as response:
            received.status, received.headers = response.status_code, response.headers
            await _receive(received, response, started, within_s)
        received.outcome = _judged(received, prompt, is_stream=is_stream, wants_call=wants_call)
    except TimeoutError:
        received.outcome = "hang"
    except httpx2.TransportError:
        received.outcome = "broken"
    received.seconds = time.monotonic() - started
    return received


def _within(client: httpx2.AsyncClient, body: dict[str, Any], headers: Mapping[str, str], within_s: float) -> Any:
    return client.stream("POST", "/v1/chat/completions", json=body, headers=headers, timeout=within_s)


async def _receive(received: Received, response: httpx2.Response, started: float, within_s: float) -> None:
    async with asyncio.timeout_at(asyncio.get_running_loop().time() + within_s - (time.monotonic() - started)):
        if "text/event-stream" not in response.headers.get("content-type", ""):
            _take_whole(received, await response.aread())
            return
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                _take_event(received, line[6:], started)
            elif line:
                raise AssertionError(f"no server-sent event: {line!r}")


def _take_whole(received: Received, content: bytes) -> None:
    value = json.loads(content)
    received.error = value.get("error")
    if received.error is None:
        choice = value["choices"][0]
        received.usage = value["usage"]
        _take_delta(received, choice["message"])
        received.finish_reason = choice["finish_reason"]
        received.is_done = True


def _take_event(received: Received, data: str, started: float) -> None:
    assert not received.is_done, "something came after [DONE]"
    assert received.error is None, "something came after the error"
    if data == "[DONE]":
        received.is_done = True
        return
    event = json.loads(data)
    received.error = event.get("error")
    received.usage = event.get("usage") or received.usage
    for choice in event.get("choices") or ():
        _take_delta(received, choice["delta"])
        received.finish_reason = choice.get("finish_reason") or received.finish_reason
    if received.first_s is None and (received.text or received.call):
        received.first_s = time.monotonic() - started


def _take_delta(received: Received, delta: Mapping[str, Any]) -> None:
    received.text += delta.get("content") or ""
    for call in delta.get("tool_calls") or ():
        received.call += call["function"].get("arguments") or ""


def _judged(received: Received, prompt: str, *, is_stream: bool, wants_call: bool) -> Outcome:
    if received.error is not None:
        return "error" if _is_honest(received) else "odd"
    if received.status != 200:
        return "odd"
    if not received.is_done:
        return "broken"
    if received.finish_reason in ("content_filter", "length"):
        return "curtailed"
    if wants_call:
        return "answer" if received.finish_reason == "tool_calls" and _is_the_call(received.call) else "truncated"
    is_whole = received.text == right_answer(prompt) and received.finish_reason == "stop"
    return "answer" if is_whole else "truncated"


def _is_honest(received: Received) -> bool:
    """Say whether an error is in OpenAI's envelope: instead of an answer, or as a stream's last event."""
    error = received.error or {}
    is_told = all(isinstance(error.get(name), str) and error[name] for name in ("message", "type", "code"))
    if received.status == 200:
        return is_told and not received.is_done
    return is_told and received.status is not None and 400 <= received.status < 600


def _is_the_call(arguments: str) -> bool:
    try:
        return json.loads(arguments) == CALL[1]
    except ValueError:
        return False
