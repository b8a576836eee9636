"""A stream on its way to the client: where it breaks off, another deployment goes on, if that can be done honestly."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext

from events.spend import Usage
from functions.gateway.asking import OpenStream
from functions.gateway.continuation import Continuation, can_continue, continuing
from functions.gateway.errors import GatewayError, StreamBroken, UpstreamError
from functions.gateway.ports import ChatRequest, Chunk
from functions.gateway.routing import Plan
from functions.gateway.run import Run
from functions.gateway.walk import Served, blame


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
    ) -> None:
        self.served = served
        self._request = request
        self._run = run
        self._plan = plan
        self._open_next = open_next
        self._is_continued = is_continued and can_continue(request)
        self._clock = clock
        self._deadline = plan.deadline
        self._continuation: Continuation | None = None

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

    async def close(self) -> None:
        """Close the connection; an answer that isn't complete then is one that nobody reads any more."""
        self.served.asked.abandoned(self._clock())
        await self.served.answer.close()

    async def _go_on(self, error: UpstreamError) -> None:
        """Have the next deployment go on. Raises `StreamBroken` where none can."""
        attempt, now = self.served.attempt, self._clock()
        await self.served.answer.close()
        self._run.fails(attempt, error.status, now, usage=error.usage)
        blame(self.served.asked, error, self._request, now=now, deadline=self._deadline)
        if not self._can_go_on():
            raise StreamBroken(attempt.deployment.name, error.status, self._run.attempts) from error
        said = attempt.content if self._continuation is None else self._continuation.said
        try:
            self._plan.broke_off(attempt.deployment, error, now)
            self.served = await self._open_next(continuing(self._request, said))
        except GatewayError as failure:
            raise StreamBroken(attempt.deployment.name, error.status, self._run.attempts) from failure
        self._run.answers(self.served.attempt, self._clock())
        self._continuation = Continuation(said)

    def _can_go_on(self) -> bool:
        has_time = self._clock() < self._deadline
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
