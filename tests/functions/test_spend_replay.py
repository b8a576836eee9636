"""Activity against the ledger: what differs is told, and repaired where that is asked for."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from events.activity import ALL_TIME, ZERO, Slot, Sums, activity
from events.money import NanoUsd
from events.spend import Scopes
from functions.adapters.embedded.stores import open_embedded
from functions.adapters.stores import Stores
from functions.gateway.ports import SpendQuery
from functions.gateway.spend_replay import ActivityDifferences, compare_activity
from tests.builders import failure, key, key_created, spend

EVENTS = [*(spend(f"e-{n:03}", cost=n, scopes=Scopes(key_hash=f"k-{n % 7}")) for n in range(700)), failure("f")]
TOTAL = Slot(ALL_TIME, "total", "")


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with open_embedded(tmp_path) as opened:
        await opened.ledger.commit(EVENTS, {})
        await opened.keys.commit([key_created(key("a"))])
        yield opened


async def stored(stores: Stores) -> dict[Slot, Sums]:
    return {slot: sums async for slot, sums in stores.activity.stored()}


async def forget(stores: Stores) -> None:
    """Leave a ledger as a version without activity leaves it."""
    ledger: Any = stores.ledger
    for table in ("activity", "requests"):
        await ledger._database.run(lambda connection, name=table: connection.execute(f"DELETE FROM {name}"))


async def test_activity_agrees_with_its_ledger(stores: Stores) -> None:
    assert await compare_activity(stores.ledger, stores.activity, repair=False) == ActivityDifferences(
        sums={}, unlisted=0, slots=len(activity(EVENTS))
    )


async def test_what_differs_is_told_and_left(stores: Stores) -> None:
    made_up, wrong = Slot("2026-01-01", "tag", "made up"), Sums(requests=1, spend=NanoUsd(5))
    before = await stored(stores)
    await stores.activity.put({made_up: wrong, TOTAL: wrong})

    found = await compare_activity(stores.ledger, stores.activity, repair=False)

    assert found.sums == {made_up: (wrong, ZERO), TOTAL: (wrong, before[TOTAL])}
    assert await stored(stores) == before | {made_up: wrong, TOTAL: wrong}


async def test_what_differs_is_repaired(stores: Stores) -> None:
    wrong = Sums(requests=1, spend=NanoUsd(5))
    await stores.activity.put({Slot("2026-01-01", "tag", "made up"): wrong, TOTAL: wrong})

    await compare_activity(stores.ledger, stores.activity, repair=True)

    assert await stored(stores) == activity(EVENTS)


async def test_an_older_ledger_is_given_its_activity(stores: Stores) -> None:
    await forget(stores)

    found = await compare_activity(stores.ledger, stores.activity, repair=True)

    assert (found.unlisted, len(found.sums)) == (701, len(activity(EVENTS)))
    assert await stored(stores) == activity(EVENTS)
    assert (await stores.activity.page(SpendQuery())).total == 701
