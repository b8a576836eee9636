"""The ledger and what is folded from it, in one SQLite file."""

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence

from events.activity import Slot, Sums, activity, is_completion
from events.alerts import Mark
from events.budget import BudgetWindow
from events.codec import Event, decode, encode
from events.money import NanoUsd
from functions.adapters.embedded.activity import grow, list_request
from functions.adapters.embedded.database import Database
from functions.gateway.ports import AlreadyRecorded

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, event BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS counters (counter TEXT PRIMARY KEY, spent INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS thresholds (
    counter TEXT NOT NULL, percent INTEGER NOT NULL, PRIMARY KEY (counter, percent)
);
CREATE TABLE IF NOT EXISTS marks (counter TEXT NOT NULL, mark TEXT NOT NULL, PRIMARY KEY (counter, mark));
CREATE TABLE IF NOT EXISTS delivered_alerts (event_id TEXT PRIMARY KEY);
"""
_PAGE = 500


class SqliteLedger:
    """`Ledger`. Of two processes that commit one event id, the second gets `AlreadyRecorded`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def commit(self, events: Sequence[Event], increments: Mapping[str, int]) -> dict[str, int]:
        """Append and grow, or nothing."""
        rows = [(event, encode(event)) for event in events]
        sums = activity(events)
        return await self._database.run(lambda connection: _commit(connection, rows, increments, sums))

    async def known(self, event_ids: Sequence[str]) -> frozenset[str]:
        """Look each up."""
        return await self._database.read(lambda connection: _known(connection, event_ids))

    async def replay(self) -> AsyncIterator[Event]:
        """Give every event in the order of its commit, a page at a time."""
        position = 0
        while page := await self._page_after(position):
            position = page[-1][0]
            for _, raw in page:
                yield decode(raw)

    async def _page_after(self, position: int) -> list[tuple[int, bytes]]:
        query = "SELECT position, event FROM events WHERE position > ? ORDER BY position LIMIT ?"
        return await self._database.read(lambda connection: connection.execute(query, (position, _PAGE)).fetchall())


class SqliteCounters:
    """`Counters`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, counter: str) -> BudgetWindow:
        """Give the counter and its marks."""
        return await self._database.read(lambda connection: _state(connection, counter))

    async def mark_announced(self, counter: str, marks: Sequence[Mark]) -> None:
        """Remember announced alerts."""
        await self._database.run(lambda connection: _mark(connection, counter, marks))

    async def set_spent(self, counter: str, spent: NanoUsd) -> None:
        """Replace the counter."""
        statement = "INSERT OR REPLACE INTO counters VALUES (?, ?)"
        await self._database.run(lambda connection: connection.execute(statement, (counter, spent)))

    async def all(self) -> AsyncIterator[tuple[str, NanoUsd]]:
        """Give every counter, a page at a time; one that has only marks is at zero."""
        name = ""
        while page := await self._page_after(name):
            name = page[-1][0]
            for counter, spent in page:
                yield counter, NanoUsd(spent)

    async def _page_after(self, name: str) -> list[tuple[str, int]]:
        every = (
            "SELECT counter, spent FROM counters UNION ALL SELECT counter, 0 FROM thresholds "
            "UNION ALL SELECT counter, 0 FROM marks"
        )
        query = f"SELECT counter, SUM(spent) FROM ({every}) WHERE counter > ? GROUP BY counter ORDER BY counter LIMIT ?"  # noqa: S608
        return await self._database.read(lambda connection: connection.execute(query, (name, _PAGE)).fetchall())


class SqliteDeliveredAlerts:
    """`DeliveredAlerts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def has(self, event_id: str) -> bool:
        """Say whether the alert was delivered."""
        query = "SELECT 1 FROM delivered_alerts WHERE event_id = ?"
        row = await self._database.read(lambda connection: connection.execute(query, (event_id,)).fetchone())
        return row is not None

    async def add(self, event_id: str) -> None:
        """Remember it."""
        statement = "INSERT OR IGNORE INTO delivered_alerts VALUES (?)"
        await self._database.run(lambda connection: connection.execute(statement, (event_id,)))


def _commit(
    connection: sqlite3.Connection,
    rows: Sequence[tuple[Event, bytes]],
    increments: Mapping[str, int],
    sums: Mapping[Slot, Sums],
) -> dict[str, int]:
    known = [event.event_id for event, raw in rows if not _append(connection, event, raw)]
    if known:
        raise AlreadyRecorded(frozenset(known))
    grow(connection, sums)
    count = (
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (counter) DO UPDATE SET spent = spent + excluded.spent "
        "RETURNING spent"
    )
    return {counter: connection.execute(count, (counter, by)).fetchone()[0] for counter, by in increments.items()}


def _append(connection: sqlite3.Connection, event: Event, raw: bytes) -> bool:
    statement = "INSERT INTO events (event_id, event) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING position"
    row = connection.execute(statement, (event.event_id, raw)).fetchone()
    if row and is_completion(event):
        list_request(connection, row[0], event)
    return row is not None


def _known(connection: sqlite3.Connection, event_ids: Sequence[str]) -> frozenset[str]:
    query = "SELECT 1 FROM events WHERE event_id = ?"
    return frozenset(name for name in event_ids if connection.execute(query, (name,)).fetchone())


def _state(connection: sqlite3.Connection, counter: str) -> BudgetWindow:
    row = connection.execute("SELECT spent FROM counters WHERE counter = ?", (counter,)).fetchone()
    crossed = connection.execute("SELECT percent FROM thresholds WHERE counter = ?", (counter,)).fetchall()
    marks = connection.execute("SELECT mark FROM marks WHERE counter = ?", (counter,)).fetchall()
    return BudgetWindow(
        NanoUsd(row[0] if row else 0),
        frozenset(percent for (percent,) in crossed),
        frozenset(mark for (mark,) in marks),
    )


def _mark(connection: sqlite3.Connection, counter: str, marks: Sequence[Mark]) -> None:
    for mark in marks:
        table = "thresholds" if isinstance(mark, int) else "marks"
        connection.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", (counter, mark))  # noqa: S608 (our names)
