"""What an instance opens at its first request, and who waits for it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from functions.bootstrap import Environment, Instance
from functions.gateway.errors import StoreUnavailable


def test_an_opening_that_takes_long_is_left_to_a_later_request() -> None:
    async def story() -> None:
        can_open = asyncio.Event()

        @asynccontextmanager
        async def slowly(environment: Environment) -> AsyncGenerator[str]:
            await can_open.wait()
            yield "open"

        instance = Instance(slowly, within_s=0.1)
        with pytest.raises(StoreUnavailable, match=r"not open within 0\.1 s"):
            await instance.get()

        can_open.set()
        assert await instance.get() == "open"

    asyncio.run(story())
