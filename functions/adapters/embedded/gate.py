"""What is handed out of each budget, in the ledger's SQLite file."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime

from events.allowance import Allowance, granted_of
from events.money import NOTHING, NanoUsd
from functions.adapters.embedded.database import Database
from functions.gateway.ports import Grant

SCHEMA = """
CREATE TABLE IF NOT EXISTS window_gates (counter TEXT PRIMARY KEY, admitted INTEGER NOT NULL, expires_at TEXT);
CREATE TABLE IF NOT EXISTS window_allowances (
    allowance_id TEXT PRIMARY KEY, granted INTEGER NOT NULL, settled_by TEXT NOT NULL, returned INTEGER,
    watched INTEGER, watched_since TEXT, expires_at TEXT
);
CREATE INDEX IF NOT EXISTS expiring_gates ON window_gates (expires_at);
CREATE INDEX IF NOT EXISTS due_allowances ON window_allowances (settled_by) WHERE returned IS NULL;
CREATE INDEX IF NOT EXISTS expiring_allowances ON window_allowances (expires_at) WHERE returned IS NOT NULL;
CREATE INDEX IF NOT EXISTS lapsing_allowances ON window_allowances (expires_at) WHERE expires_at <= settled_by;
"""
_LATE = "returned IS NULL AND settled_by <= ? AND (expires_at IS NULL OR expires_at > settled_by)"
_EXPIRED = """
SELECT allowance_id FROM window_allowances WHERE returned IS NOT NULL AND expires_at <= :now
UNION SELECT allowance_id FROM window_allowances WHERE expires_at <= settled_by AND expires_at <= :now LIMIT :limit
"""
_FIELDS = "allowance_id, granted, settled_by, returned, watched, watched_since, expires_at"


class SqliteGate:
    """`Gate`. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, asked: Allowance, *, limit: NanoUsd, gate_expires_at: datetime | None = None) -> Grant:
        """Hand out what is left, up to what is asked for."""
        return await self._database.run(lambda connection: _take(connection, asked, limit, gate_expires_at))

    async def give_back(self, allowance_id: str, rest: NanoUsd) -> None:
        """Take the rest back."""
        await self._database.run(lambda connection: _give_back(connection, allowance_id, rest))

    async def admitted(self, counter: str) -> NanoUsd:
        """Say how much is handed out."""
        return await self._database.read(lambda connection: _admitted(connection, counter))

    async def unsettled(self, now: datetime, *, limit: int = 500) -> Sequence[Allowance]:
        """Give those that are late."""
        query = f"SELECT {_FIELDS} FROM window_allowances WHERE {_LATE} ORDER BY settled_by LIMIT ?"  # noqa: S608
        asked = (_text(now), limit)
        rows = await self._database.read(lambda connection: connection.execute(query, asked).fetchall())
        return [_allowance(row) for row in rows]

    async def known(self, allowance_ids: Sequence[str]) -> Sequence[Allowance]:
        """Give those that there are."""
        found = await self._database.read(lambda connection: [_found(connection, name) for name in allowance_ids])
        return [allowance for allowance in found if allowance is not None]

    async def amend(self, before: Allowance, after: Allowance) -> bool:
        """Replace it, if it is as it was."""
        return await self._database.run(lambda connection: _amend(connection, before, after))

    async def sweep(self, now: datetime, *, limit: int) -> int:
        """Delete what has expired, the counters of allowances too."""
        return await self._database.run(lambda connection: _sweep(connection, _text(now), limit))


def _take(connection: sqlite3.Connection, asked: Allowance, limit: NanoUsd, gate_expires_at: datetime | None) -> Grant:
    admitted = _admitted(connection, asked.counter)
    if (known := _found(connection, asked.allowance_id)) is not None:
        return Grant(known.granted if known.returned is None else NOTHING, admitted)
    granted = granted_of(asked.granted, total=admitted + asked.granted, limit=limit)
    if granted:
        expires_at = asked.expires_at and _text(asked.expires_at)
        row = (asked.allowance_id, granted, _text(asked.settled_by), asked.returned, None, None, expires_at)
        connection.execute("INSERT INTO window_allowances VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        _admit(connection, asked.counter, granted, gate_expires_at)
    return Grant(granted, NanoUsd(admitted + granted))


def _give_back(connection: sqlite3.Connection, allowance_id: str, rest: NanoUsd) -> None:
    known = _found(connection, allowance_id)
    if known is not None and known.returned is None:
        statement = "UPDATE window_allowances SET returned = ? WHERE allowance_id = ?"
        connection.execute(statement, (rest, allowance_id))
        _admit(connection, known.counter, -rest)


def _amend(connection: sqlite3.Connection, before: Allowance, after: Allowance) -> bool:
    if _found(connection, before.allowance_id) != before:
        return False
    statement = "UPDATE window_allowances SET returned = ?, watched = ?, watched_since = ? WHERE allowance_id = ?"
    since = after.watched_since and _text(after.watched_since)
    connection.execute(statement, (after.returned, after.watched, since, before.allowance_id))
    _admit(connection, before.counter, after.admitted - before.admitted)
    return True


def _admit(connection: sqlite3.Connection, counter: str, by: int, expires_at: datetime | None = None) -> None:
    grow = (
        "INSERT INTO window_gates VALUES (?, ?, ?) ON CONFLICT (counter) DO UPDATE SET "
        "admitted = admitted + excluded.admitted, expires_at = COALESCE(excluded.expires_at, expires_at)"
    )
    connection.execute(grow, (counter, by, expires_at and _text(expires_at)))


def _sweep(connection: sqlite3.Connection, now: str, limit: int) -> int:
    names = connection.execute(_EXPIRED, {"now": now, "limit": limit}).fetchall()
    connection.executemany("DELETE FROM window_allowances WHERE allowance_id = ?", names)
    connection.executemany("DELETE FROM counters WHERE counter = ?", names)
    over = (
        "SELECT counter FROM window_gates WHERE expires_at <= ? AND NOT EXISTS (SELECT 1 FROM window_allowances "
        "WHERE allowance_id > counter || '|' AND allowance_id < counter || '}') LIMIT ?"  # '}' comes after '|'
    )
    counters = connection.execute(over, (now, limit - len(names))).fetchall()
    connection.executemany("DELETE FROM window_gates WHERE counter = ?", counters)
    return len(names) + len(counters)


def _admitted(connection: sqlite3.Connection, counter: str) -> NanoUsd:
    row = connection.execute("SELECT admitted FROM window_gates WHERE counter = ?", (counter,)).fetchone()
    return NanoUsd(row[0]) if row else NOTHING


def _found(connection: sqlite3.Connection, allowance_id: str) -> Allowance | None:
    query = f"SELECT {_FIELDS} FROM window_allowances WHERE allowance_id = ?"  # noqa: S608
    row = connection.execute(query, (allowance_id,)).fetchone()
    return _allowance(row) if row else None


def _allowance(row: tuple[str, int, str, int | None, int | None, str | None, str | None]) -> Allowance:
    name, granted, settled_by, returned, watched, since, expires_at = row
    return Allowance(
        allowance_id=name,
        granted=NanoUsd(granted),
        settled_by=datetime.fromisoformat(settled_by),
        returned=None if returned is None else NanoUsd(returned),
        watched=None if watched is None else NanoUsd(watched),
        watched_since=None if since is None else datetime.fromisoformat(since),
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
    )


def _text(time: datetime) -> str:
    """Write a time so that later ones sort after earlier ones."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")
