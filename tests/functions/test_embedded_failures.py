"""The embedded backend when its disk fails."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.embedded import bus
from functions.adapters.embedded.bus import SqliteBus, SqliteSubscription
from functions.adapters.embedded.database import Database, open_database
from functions.gateway.errors import StoreUnavailable
from functions.gateway.ports import SPEND_EVENTS
from tests.builders import spend


class FailingDatabase(Database):
    """A real file whose commits fail while it is told so."""

    is_failing = False

    def transaction(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        if not self.is_failing:
            return super().transaction(work)

        def fail(connection: sqlite3.Connection) -> None:
            work(connection)
            raise sqlite3.DatabaseError("database disk image is malformed")

        return super().transaction(fail)


async def test_of_publications_that_share_a_failed_commit_none_is_acknowledged(tmp_path: Path) -> None:
    async with open_database(tmp_path / "bus.sqlite3", bus.SCHEMA) as opened:
        database = FailingDatabase(opened._connection, opened._thread, tmp_path / "bus.sqlite3")  # pyright: ignore[reportPrivateUsage]
        sqlite_bus = SqliteBus(database)
        database.is_failing = True
        publications = [sqlite_bus.publish(SPEND_EVENTS, spend(f"e-{number}")) for number in range(5)]
        outcomes = await asyncio.gather(*publications, return_exceptions=True)
        stored = await database.read(lambda connection: connection.execute("SELECT count(*) FROM messages").fetchone())

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 5
    assert stored == (0,)


async def test_a_commit_after_a_failed_one_succeeds(tmp_path: Path) -> None:
    async with open_database(tmp_path / "bus.sqlite3", bus.SCHEMA) as opened:
        database = FailingDatabase(opened._connection, opened._thread, tmp_path / "bus.sqlite3")  # pyright: ignore[reportPrivateUsage]
        sqlite_bus = SqliteBus(database)
        database.is_failing = True
        with pytest.raises(StoreUnavailable):
            await sqlite_bus.publish(SPEND_EVENTS, spend("lost"))
        database.is_failing = False

        await sqlite_bus.publish(SPEND_EVENTS, spend("kept"))

        (delivery,) = await SqliteSubscription(opened, SPEND_EVENTS).take(10)
    assert b'"id":"kept"' in delivery.data
