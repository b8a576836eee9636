"""Both backends, opened: every test of this folder runs against each."""

import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from functions.adapters.embedded.bus import SqliteSubscription
from functions.adapters.embedded.stores import open_bus_file, open_embedded
from functions.adapters.stores import Stores
from functions.gateway.ports import Subscription
from tests.emulators import Emulators


@dataclass(frozen=True)
class Backend:
    """One backend; `open` opens it once more, as another process would."""

    stores: Stores
    open: Callable[[], AbstractAsyncContextManager[Stores]]
    subscription: Callable[[str], Subscription]


@pytest.fixture(scope="session", autouse=True)
async def one_loop() -> None:
    """Keep one event loop for the whole run: gRPC's poller stays with the first loop that it meets."""


@pytest.fixture(params=["embedded", pytest.param("google", marks=pytest.mark.emulator)])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Backend]:
    async with AsyncExitStack() as stack:
        if request.param == "embedded":
            yield await _embedded(stack, tmp_path)
        else:
            monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
            yield await _google(stack, request.getfixturevalue("emulators"), monkeypatch)


async def _embedded(stack: AsyncExitStack, state_dir: Path) -> Backend:
    stores = await stack.enter_async_context(open_embedded(state_dir))
    bus_file = await stack.enter_async_context(open_bus_file(state_dir))
    return Backend(
        stores=stores,
        open=lambda: open_embedded(state_dir),
        subscription=lambda topic: SqliteSubscription(bus_file, topic, lease_s=0.2),
    )


async def _google(stack: AsyncExitStack, emulators: Emulators, monkeypatch: pytest.MonkeyPatch) -> Backend:
    from functions.adapters.gcp.pubsub import (
        PubSubBus,
        PubSubSubscription,
        ensure_topics,
        open_publisher,
        open_subscriber,
    )
    from functions.adapters.gcp.stores import open_gcp

    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulators.firestore)
    project = f"test-{uuid.uuid4().hex[:12]}"
    publisher = await stack.enter_async_context(open_publisher(emulators.pubsub))
    subscriber = await stack.enter_async_context(open_subscriber(emulators.pubsub))
    await ensure_topics(publisher, subscriber, project)
    stores = await stack.enter_async_context(open_gcp(project, pubsub_emulator_host=emulators.pubsub))
    bus = PubSubBus(publisher, project)
    return Backend(
        stores=stores,
        open=lambda: open_gcp(project, pubsub_emulator_host=emulators.pubsub),
        subscription=lambda topic: PubSubSubscription(subscriber, bus, project, topic),
    )
