"""A stream on its way to the client: where it breaks off, another deployment goes on, if that can be done honestly."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass

import anyio

from events.spend import Usage
from functions.gateway.continuation import Continuation, can_continue, continuing
from functions.gateway.errors import GatewayError, StreamBroken, UpstreamError
from functions.gateway.ports import ChatRequest, Chunk
from functions.gateway.routing import Plan
from functions.gateway.run import Run
from functions.gateway.timeouts import is_hasty
from functions.gateway.verdicts import judge
from functions.gateway.walk import Served

_CLOSED_WITHIN_S = 5
_MOST_STALLS = 2  # of one answer: the client has waited long enough


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream whose first content has arrived, and the connection that it comes on."""

    chunks: AsyncIterator[Chunk]
    connection: AsyncExitStack

    async def close(self) -> None:
        """Close the connection, which stops the meter."""
        await self.connection.aclose()


class Relay:
    """Gives one answer's chunks, from whoever answers.

    `open_next` walks on and opens a stream for a request, if `is_continued` says that one may.
    """

    def __init__(
        self,
        request: ChatRequest,
        run: Run,
        plan: Plan,
        served: Served[OpenStream],
        open_next: Callable[[ChatRequest], Awaitable[Served[OpenStream]]],
        *,
        is_continued: bool,
        clock: Callable[[], float],
        deadline: float,
    ) -> None:
        self.served = served
        self._request = request
        self._run = run
        self._plan = plan
        self._open_next = open_next
        self._is_continued = is_continued and can_continue(request)
        self._clock = clock
        self._deadline = deadline
        self._continuation: Continuation | None = None
        self._stalls = 0

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Give the chunks to the answer's end. Raises `StreamBroken`."""
        while True:
            try:
                async for chunk in self._in_time(self.served):
                    yield chunk if self._continuation is None else self._continuation.joined(chunk)
            except UpstreamError as error:
                await self._go_on(error)
            else:
                usage = self.served.attempt.reported or Usage()
                self.served.asked.finished(self._clock(), usage.output_tokens, usage.input_tokens)
                return

    async def abandon(self) -> None:
        """Stop the upstream: nobody reads any more."""
        self.served.asked.abandoned(self._clock())
        with anyio.move_on_after(_CLOSED_WITHIN_S, shield=True):
            await self.served.answer.close()

    async def _go_on(self, error: UpstreamError) -> None:
        """Have the next deployment go on. Raises `StreamBroken` where none can."""
        attempt, now = self.served.attempt, self._clock()
        await self.served.answer.close()
        self._run.fails(attempt, error.status, now, usage=error.usage)
        if is_hasty(self._request, error):
            self.served.asked.abandoned(now)
        self.served.asked.failed(now, judge(error), status=error.status, retry_after_s=error.retry_after_s)
        self._stalls += error.status == "timeout"
        if not self._can_go_on():
            raise StreamBroken(self._run.attempts) from error
        said = attempt.content if self._continuation is None else self._continuation.said
        try:
            self._plan.broke_off(attempt.deployment, error, now=now, deadline=self._deadline)
            self.served = await self._open_next(continuing(self._request, said))
        except GatewayError as failure:
            raise StreamBroken(self._run.attempts) from failure
        self._run.answers(self.served.attempt, self._clock())
        self._continuation = Continuation(said)

    def _can_go_on(self) -> bool:
        has_time = self._clock() < self._deadline and self._stalls < _MOST_STALLS
        return self._is_continued and has_time and self.served.attempt.has_only_text

    async def _in_time(self, served: Served[OpenStream]) -> AsyncIterator[Chunk]:
        """Give a stream's chunks as long as the request may take. Raises `UpstreamError`.

        While the upstream's own bound on a silence is the nearer one, none is set for each chunk: that is dear.
        """
        while True:
            left = self._deadline - self._clock()
            try:
                async with nullcontext() if left > served.deployment.idle_timeout_s else asyncio.timeout(left):
                    chunk = await anext(served.answer.chunks, None)
            except TimeoutError as error:
                raise UpstreamError("timeout", "the request's time was over") from error
            if chunk is None:
                return
            yield chunk
