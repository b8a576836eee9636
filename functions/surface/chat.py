"""`POST /v1/chat/completions`."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial

import anyio
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from functions.gateway.config import Config
from functions.gateway.keys import Keyring
from functions.gateway.pipeline import Completions, RenderedStream
from functions.gateway.wire import parse_chat_request
from functions.surface.caller import caller_of
from functions.surface.edge import json_response
from functions.surface.reading import read_json

_TAKEN_WITHIN_S = 60
_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class ChatEndpoint:
    """An ASGI application, because a stream's answer begins inside the pipeline's context and ends it."""

    def __init__(
        self, completions: Completions, config: Config, keyring: Keyring, *, taken_within_s: float = _TAKEN_WITHIN_S
    ) -> None:
        self._completions = completions
        self._config = config
        self._keyring = keyring
        self._taken_within_s = taken_within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate, check, answer."""
        request = Request(scope, receive)
        identity = await self._keyring.authenticate(request.headers, scope["path"])
        raw = await read_json(request, limit_bytes=self._config.max_request_bytes)
        chat = parse_chat_request(raw, drop_params=self._config.drop_params, headers=request.headers)
        caller = caller_of(request, identity, chat.body.get("user"))
        if not chat.is_stream:
            answer = await self._completions.answer(chat, caller)
            await json_response(answer.body, headers=dict(answer.headers))(scope, receive, send)
            return
        sender = _Sender(send)
        gone = (partial(_disconnect, receive), partial(sender.stall, self._taken_within_s))
        async with cancelled_by(*gone), self._completions.stream(chat, caller) as stream:
            await _send_stream(stream, sender.send)


async def _send_stream(stream: RenderedStream, send: Send) -> None:
    async with aclosing(stream.events) as events:
        await send(_start(stream))
        async for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class _Sender:
    """Sends, and knows since when the client hasn't taken what it is sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waits_since: float | None = None

    async def send(self, message: Message) -> None:
        """Send; this waits while the client takes nothing."""
        self._waits_since = anyio.current_time()
        await self._send(message)
        self._waits_since = None

    async def stall(self, within_s: float) -> None:
        """Return once a message has waited for `within_s`, noticed at most as much later.

        There is one timer for all messages: one for each would be a good part of what a chunk costs.
        """
        left = within_s
        while left > 0:
            await anyio.sleep(left)
            waited = 0 if self._waits_since is None else anyio.current_time() - self._waits_since
            left = within_s - waited


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def cancelled_by(*signs: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Cancel what runs inside as soon as one of the signs that the client has gone returns.

    One of them reads what the client sends, so its body must have been read.
    """
    try:
        async with anyio.create_task_group() as tasks:
            for sign in signs:
                tasks.start_soon(_cancel_after, sign, tasks.cancel_scope)
            yield
            tasks.cancel_scope.cancel()
    except ExceptionGroup as group:  # of one: the signs raise nothing
        raise group.exceptions[0] from None


async def _cancel_after(sign: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
    await sign()
    scope.cancel()


def _start(stream: RenderedStream) -> Message:
    headers = {**_STREAM_HEADERS, **stream.headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": raw}
