"""`python -m infra.local.sandbox PORT`: the sandbox upstream, its bill, and the inbox for alerts."""

import asyncio
import json
import socket
import struct
import sys
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from infra.local.sandbox import anthropic, embeddings, google, openai
from infra.local.sandbox.directives import directives_in
from infra.local.sandbox.reply import Question, Reply, reply_to, tokens_of

_PAUSE_S = 0.2  # of a slow stream, before each chunk
_BREATH_S = 0.002  # so that what was sent has left before a cut
_CUT_AFTER = 4  # events
_REMEMBERED = 100
_PAGE = b"<!doctype html><title>502</title><p>A proxy's page, from the sandbox."
_SECRETS = frozenset({"authorization", "x-api-key", "x-goog-api-key"})


class Sandbox:
    """What is remembered: what would have been billed, the last requests, the alerts."""

    def __init__(self) -> None:
        self.bill: dict[str, dict[str, int]] = {}
        self.requests: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)
        self.alerts: deque[Any] = deque(maxlen=_REMEMBERED)

    def charge(self, question: Question, input_tokens: int, output_tokens: int) -> None:
        """Add an answer to the bill; what was generated is billed whether or not anybody read it."""
        entry = self.bill.setdefault(
            f"{question.provider}/{question.model}", {"requests": 0, "input_tokens": 0, "output_tokens": 0}
        )
        entry["requests"] += 1
        entry["input_tokens"] += input_tokens
        entry["output_tokens"] += output_tokens

    def remember(self, request: Request, question: Question, body: Any) -> None:
        """Keep what was asked, without keys."""
        headers = {name: value for name, value in request.headers.items() if name not in _SECRETS}
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.requests.append({"provider": question.provider, "path": path, "headers": headers, "body": body})

    async def show_bill(self, _request: Request) -> Response:
        """`GET /bill`."""
        return JSONResponse(self.bill)

    async def show_requests(self, request: Request) -> Response:
        """`GET /requests`, newest last; `DELETE` forgets them."""
        if request.method == "DELETE":
            self.requests.clear()
        return JSONResponse(list(self.requests))

    async def inbox(self, request: Request) -> Response:
        """`POST /alerts` as a webhook; `GET` lists what came, newest last."""
        if request.method == "POST":
            self.alerts.append(await request.json())
            return JSONResponse({"received": True})
        return JSONResponse(list(self.alerts))

    async def health(self, _request: Request) -> Response:
        """`GET /health`."""
        return JSONResponse({"status": "healthy", "sandbox": True})


class WireEndpoint:
    """One provider's path."""

    def __init__(self, sandbox: Sandbox, wire: ModuleType) -> None:
        self._sandbox = sandbox
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or fail as asked."""
        request = Request(scope, receive)
        body: dict[str, Any] = await request.json()
        question: Question = self._wire.question(body, request.url.path)
        self._sandbox.remember(request, question, body)
        fault = question.directives.faults.get(question.provider, "")
        if refusal := self._wire.refusal(body, question):
            said, headers = self._wire.error(400, refusal)
            await JSONResponse(said, status_code=400, headers=headers)(scope, receive, send)
        elif fault.isdecimal():
            said, headers = self._wire.error(int(fault))
            await JSONResponse(said, status_code=int(fault), headers=headers)(scope, receive, send)
        elif fault == "html":
            await Response(_PAGE, media_type="text/html")(scope, receive, send)
        elif fault == "stall":
            while (await receive())["type"] != "http.disconnect":
                pass
        elif fault == "reset":
            _reset(send)
        else:
            await self._answer(question, fault, send)

    async def _answer(self, question: Question, fault: str, send: Send) -> None:
        reply = reply_to(question)
        answer_id = uuid.uuid4().hex
        if question.is_stream:
            events = list(self._wire.stream(question, reply, answer_id))
            await self._stream(question, reply, events, fault, send)
            return
        whole = json.dumps(self._wire.whole(question, reply, answer_id)).encode()
        self._sandbox.charge(question, reply.input_tokens, reply.output_tokens)
        await _start(send, "application/json", {"content-length": str(len(whole))})
        if fault == "cut":
            await _send(send, whole[: len(whole) // 2])
            await asyncio.sleep(_BREATH_S)
            _reset(send)
            return
        await asyncio.sleep(_PAUSE_S if fault == "slow" else 0)
        await send({"type": "http.response.body", "body": whole})

    async def _stream(self, question: Question, reply: Reply, events: list[bytes], fault: str, send: Send) -> None:
        await _start(send, "text/event-stream", {})
        breaks_off = fault in ("cut", "error")
        for event in events[:_CUT_AFTER] if breaks_off else events:
            await asyncio.sleep(_PAUSE_S if fault == "slow" else _BREATH_S if breaks_off else 0)
            await _send(send, event)
        if not breaks_off:
            self._sandbox.charge(question, reply.input_tokens, reply.output_tokens)
            await send({"type": "http.response.body", "body": b""})
            return
        self._sandbox.charge(question, reply.input_tokens, tokens_of("".join(reply.pieces()[:2])))
        if fault == "error":
            await _send(send, self._wire.error_event())
            await send({"type": "http.response.body", "body": b""})
            return
        await asyncio.sleep(_BREATH_S)
        _reset(send)


class EmbeddingEndpoint:
    """One provider's embeddings; of the faults, the statuses are understood."""

    def __init__(self, sandbox: Sandbox, provider: str) -> None:
        self._sandbox = sandbox
        self._provider = provider

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or fail as asked."""
        request = Request(scope, receive)
        body: dict[str, Any] = await request.json()
        is_google = self._provider == "gemini"
        texts = embeddings.google_texts(body) if is_google else embeddings.openai_texts(body)
        model = request.url.path.rpartition("/")[2].partition(":")[0] if is_google else str(body["model"])
        asked, told = directives_in(texts[-1]), "".join(texts)
        question = Question(
            provider=self._provider, model=model, user_text=texts[-1], input_text=told, directives=asked
        )
        self._sandbox.remember(request, question, body)
        fault = asked.faults.get(self._provider, "")
        if fault.isdecimal():
            said, headers = (google if is_google else openai).error(int(fault))
            await JSONResponse(said, status_code=int(fault), headers=headers)(scope, receive, send)
            return
        self._sandbox.charge(question, sum(map(tokens_of, texts)), 0)
        answer = embeddings.google_answer(body) if is_google else embeddings.openai_answer(body)
        await JSONResponse(answer)(scope, receive, send)


async def _start(send: Send, content_type: str, headers: Mapping[str, str]) -> None:
    pairs = {"content-type": content_type, **headers}.items()
    raw = [(name.encode(), value.encode()) for name, value in pairs]
    await send({"type": "http.response.start", "status": 200, "headers": raw})


async def _send(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


def _reset(send: Send) -> None:
    """Reset the connection: uvicorn's `send` belongs to the request that holds the transport."""
    transport: asyncio.Transport = send.__self__.transport  # pyright: ignore[reportFunctionMemberAccess]
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def build_app(sandbox: Sandbox) -> Router:
    """Put the three wires and the sandbox's own pages on their paths."""
    gemini, google_embeddings = WireEndpoint(sandbox, google), EmbeddingEndpoint(sandbox, "gemini")
    return Router(
        [
            Route("/v1/chat/completions", WireEndpoint(sandbox, openai), methods=["POST"]),
            Route("/v1/embeddings", EmbeddingEndpoint(sandbox, "openai"), methods=["POST"]),
            *[
                Route(f"/{version}/models/{{model}}:batchEmbedContents", google_embeddings, methods=["POST"])
                for version in ("v1", "v1beta")
            ],
            Route("/v1/messages", WireEndpoint(sandbox, anthropic), methods=["POST"]),
            *[Route(f"/{version}/models/{{call}}", gemini, methods=["POST"]) for version in ("v1", "v1beta")],
            Route("/bill", sandbox.show_bill),
            Route("/requests", sandbox.show_requests, methods=["GET", "DELETE"]),
            Route("/alerts", sandbox.inbox, methods=["GET", "POST"]),
            Route("/health", sandbox.health),
        ]
    )


def main(arguments: Iterable[str]) -> None:
    """Serve on the port that is given."""
    (port,) = arguments
    uvicorn.run(build_app(Sandbox()), host="127.0.0.1", port=int(port), log_level="error", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main(sys.argv[1:])
