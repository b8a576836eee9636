"""`POST /v1/chat/completions`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import anyio
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from functions.gateway.config import Config
from functions.gateway.keys import authenticate
from functions.gateway.pipeline import Completions, RenderedStream
from functions.gateway.wire import parse_chat_request
from functions.surface.caller import caller_of
from functions.surface.edge import json_response
from functions.surface.reading import read_json

_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class ChatEndpoint:
    """An ASGI application, because a stream's answer begins inside the pipeline's context and ends it."""

    def __init__(self, completions: Completions, config: Config) -> None:
        self._completions = completions
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate, check, answer."""
        request = Request(scope, receive)
        key_hash = authenticate(request.headers, self._config.master_key)
        raw = await read_json(request, limit_bytes=self._config.max_request_bytes)
        chat = parse_chat_request(raw, drop_params=self._config.drop_params, headers=request.headers)
        caller = caller_of(request, key_hash, chat.body.get("user"))
        if not chat.is_stream:
            answer = await self._completions.answer(chat, caller)
            await json_response(answer.body, headers=dict(answer.headers))(scope, receive, send)
            return
        async with cancelled_on_disconnect(receive), self._completions.stream(chat, caller) as stream:
            await _send_stream(stream, send)


async def _send_stream(stream: RenderedStream, send: Send) -> None:
    async with aclosing(stream.events) as events:
        await send(_start(stream))
        async for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def cancelled_on_disconnect(receive: Receive) -> AsyncGenerator[None]:
    """Cancel what runs inside as soon as the client has gone; its body must have been read."""
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
            yield
            tasks.cancel_scope.cancel()
    except ExceptionGroup as group:  # of one: the watcher raises nothing
        raise group.exceptions[0] from None


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _start(stream: RenderedStream) -> Message:
    headers = {**_STREAM_HEADERS, **stream.headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": raw}
