"""Topics in one SQLite file: rows that are leased, and gone when acknowledged."""

import asyncio
import sqlite3
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from events.codec import Event, encode
from functions.adapters.embedded.database import Database, sqlite_failures
from functions.gateway.errors import StoreUnavailable
from functions.gateway.ports import Delivery

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    message_id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, data BLOB NOT NULL,
    published_at REAL NOT NULL, due_at REAL NOT NULL, attempt INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS messages_by_due_time ON messages (topic, due_at);
CREATE TABLE IF NOT EXISTS dead_letters (
    message_id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, data BLOB NOT NULL,
    reason TEXT NOT NULL, died_at REAL NOT NULL
);
"""
_INSERT = "INSERT INTO messages (topic, data, published_at, due_at) VALUES (?, ?, ?, ?)"
_POLL_S = 0.02
_POLLS = 10


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What could never be handled, and why."""

    topic: str
    data: bytes
    reason: str


@dataclass(slots=True)
class _Publication:
    row: tuple[str, bytes, float, float]
    error: sqlite3.Error | StoreUnavailable | None = None


class SqliteBus:
    """`Bus`. Publications that wait for the disk at the same time share a commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Publication] = deque()

    async def publish(self, topic: str, event: Event) -> None:
        """Return once the event is on disk."""
        now = time.time()
        publication = _Publication((topic, encode(event), now, now))
        self._waiting.append(publication)
        await self._database.on_thread(self._commit_waiting)
        if publication.error:
            with sqlite_failures():
                raise publication.error

    async def dead_letter(self, topic: str, data: bytes, *, reason: str) -> None:
        """Keep it with its reason."""
        await self._database.run(lambda connection: _bury(connection, topic, data, reason))

    async def dead_letters(self, topic: str) -> list[DeadLetter]:
        """Give what was kept, oldest first."""
        query = "SELECT topic, data, reason FROM dead_letters WHERE topic = ? ORDER BY message_id"
        rows = await self._database.read(lambda connection: connection.execute(query, (topic,)).fetchall())
        return [DeadLetter(*row) for row in rows]

    def _commit_waiting(self) -> None:
        """Commit all that wait; who comes here later finds its own publication committed by an earlier caller."""
        group = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not group:
            return
        rows = [publication.row for publication in group]
        try:
            self._database.transaction(lambda connection: connection.executemany(_INSERT, rows))
        except (sqlite3.Error, StoreUnavailable) as error:
            for publication in group:
                publication.error = error


class SqliteSubscription:
    """`Subscription`. What isn't acknowledged within `lease_s` comes again, to whoever takes it first."""

    def __init__(self, database: Database, topic: str, *, lease_s: float = 60) -> None:
        self._database = database
        self._topic = topic
        self._lease_s = lease_s

    async def release(self) -> None:
        """Have everything come again now that a taker before this one has leased or put off, for it is gone."""
        statement = "UPDATE messages SET due_at = published_at WHERE topic = ?"
        await self._database.run(lambda connection: connection.execute(statement, (self._topic,)))

    async def take(self, limit: int) -> list[Delivery]:
        """Lease what is due. Looks every 20 ms without a lock, and gives up after 0.2 s with nothing."""
        for _ in range(_POLLS):
            if await self._database.read(self._has_due):
                return await self._database.run(lambda connection: self._lease(connection, limit))
            await asyncio.sleep(_POLL_S)
        return []

    async def acknowledge(self, delivery: Delivery) -> None:
        """Remove it."""
        await self._database.run(lambda connection: _remove(connection, delivery))

    async def retry_later(self, delivery: Delivery, *, delay_s: float) -> None:
        """Have it come again, not before `delay_s` from now."""
        statement = "UPDATE messages SET due_at = ? WHERE message_id = ? AND attempt = ?"
        row = (time.time() + delay_s, delivery.message_id, delivery.attempt)
        await self._database.run(lambda connection: connection.execute(statement, row))

    async def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        """Give it up: move it to the dead letters, with its reason."""

        def move(connection: sqlite3.Connection) -> None:
            _bury(connection, delivery.topic, delivery.data, reason)
            _remove(connection, delivery)

        await self._database.run(move)

    def _has_due(self, connection: sqlite3.Connection) -> bool:
        query = "SELECT 1 FROM messages WHERE topic = ? AND due_at <= ? LIMIT 1"
        return connection.execute(query, (self._topic, time.time())).fetchone() is not None

    def _lease(self, connection: sqlite3.Connection, limit: int) -> list[Delivery]:
        now = time.time()
        rows: list[tuple[Any, ...]] = connection.execute(
            "UPDATE messages SET due_at = ?, attempt = attempt + 1 WHERE message_id IN "
            "(SELECT message_id FROM messages WHERE topic = ? AND due_at <= ? ORDER BY due_at LIMIT ?) "
            "RETURNING message_id, data, attempt, published_at",
            (now + self._lease_s, self._topic, now, limit),
        ).fetchall()
        return [self._delivery(*row) for row in rows]

    def _delivery(self, message_id: int, data: bytes, attempt: int, published_at: float) -> Delivery:
        return Delivery(
            token=f"{message_id}:{attempt}",
            message_id=str(message_id),
            topic=self._topic,
            data=data,
            attempt=attempt,
            published_at=datetime.fromtimestamp(published_at, UTC),
        )


def _bury(connection: sqlite3.Connection, topic: str, data: bytes, reason: str) -> None:
    statement = "INSERT INTO dead_letters (topic, data, reason, died_at) VALUES (?, ?, ?, ?)"
    connection.execute(statement, (topic, data, reason, time.time()))


def _remove(connection: sqlite3.Connection, delivery: Delivery) -> None:
    connection.execute("DELETE FROM messages WHERE message_id = ?", (delivery.message_id,))
