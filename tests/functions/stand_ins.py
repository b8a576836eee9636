"""What stands in for the bus and for admission, where a test is about neither."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from events.codec import Event
from events.money import NanoUsd
from events.spend import Scopes, SpendRecorded
from functions.gateway.errors import StoreUnavailable
from functions.gateway.ports import Deployment, Request


class HeldBus:
    """A bus whose acknowledgement can be held back or refused."""

    def __init__(self) -> None:
        self.published: list[Event] = []
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.is_down = False

    async def publish(self, topic: str, event: Event) -> None:
        self.asked.set()
        await self.open.wait()
        if self.is_down:
            raise StoreUnavailable("the bus is down")
        self.published.append(event)

    async def dead_letter(self, topic: str, data: bytes, *, reason: str) -> None:
        raise AssertionError("nothing is dead-lettered here")

    @property
    def spend(self) -> SpendRecorded:
        (event,) = self.published
        assert isinstance(event, SpendRecorded)
        return event


class OpenAdmission:
    """Lets everyone in, and knows what they spent."""

    def __init__(self) -> None:
        self.settled: list[int] = []
        self.allowance_ids: tuple[str, ...] = ()
        self.max_tokens: int | None = None

    @asynccontextmanager
    async def hold(
        self, request: Request, chain: Sequence[Deployment], scopes: Scopes
    ) -> AsyncGenerator["OpenAdmission"]:
        yield self

    def settle(self, cost: NanoUsd) -> None:
        self.settled.append(cost)
