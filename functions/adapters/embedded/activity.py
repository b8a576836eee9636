"""What was asked and spent, in the ledger's SQLite file: sums, and a list of requests that is searched by index."""

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from events.activity import (
    SUM_NAMES,
    ZERO,
    Completion,
    Dimension,
    Slot,
    Sums,
    cell_named,
    cell_of,
    response_id_of,
    status_of,
    sums_of,
)
from events.codec import decode, decode_key
from events.keys import Key
from functions.adapters.embedded.database import Database
from functions.gateway.ports import CellQuery, SpendPage, SpendQuery

_LISTED_BY = ("key", "end_user", "user", "team", "model", "alias", "provider", "status")  # the fewest requests first
_CELLS_BY = ("key", "user", "team")
_SUMS = ", ".join(f"{name} INTEGER NOT NULL" for name in SUM_NAMES)

# Each index holds all that one filter needs to count its rows and to find a page of them, in the order of their times.
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS activity (
    dimension TEXT NOT NULL, period TEXT NOT NULL, name TEXT NOT NULL, "key" TEXT, user TEXT, team TEXT, {_SUMS},
    PRIMARY KEY (dimension, period, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
    position INTEGER PRIMARY KEY, time INTEGER NOT NULL, response_id TEXT NOT NULL, call_id TEXT NOT NULL,
    "key" TEXT, user TEXT, team TEXT, end_user TEXT, model TEXT, alias TEXT, provider TEXT, status TEXT
);
CREATE INDEX IF NOT EXISTS requests_by_time ON requests (time);
CREATE INDEX IF NOT EXISTS requests_by_response ON requests (response_id);
CREATE INDEX IF NOT EXISTS requests_by_call ON requests (call_id);
CREATE INDEX IF NOT EXISTS keys_by_id ON keys (json_extract(CAST(record AS TEXT), '$.key_id'));
CREATE INDEX IF NOT EXISTS keys_by_time ON keys (created_at DESC, key_hash DESC) WHERE record IS NOT NULL;
""" + "".join(
    f'CREATE INDEX IF NOT EXISTS {table}_by_{name} ON {table} ("{name}", {time}) WHERE "{name}" IS NOT NULL;\n'
    for table, time, names in (("requests", "time", _LISTED_BY), ("activity", "period", _CELLS_BY))
    for name in names
)
_PAGE = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READ = f"SELECT period, dimension, name, {', '.join(SUM_NAMES)} FROM activity"  # noqa: S608 (our names)
_PLACE = (
    f"INSERT INTO activity VALUES ({', '.join('?' * (6 + len(SUM_NAMES)))}) "  # noqa: S608 (our names)
    "ON CONFLICT (dimension, period, name) DO UPDATE SET "
)
_GROW = _PLACE + ", ".join(f"{name} = {name} + excluded.{name}" for name in SUM_NAMES)
_PUT = _PLACE + ", ".join(f"{name} = excluded.{name}" for name in SUM_NAMES)


def grow(connection: sqlite3.Connection, sums: Mapping[Slot, Sums]) -> None:
    """Add to the sums, inside a transaction."""
    connection.executemany(_GROW, [_row(slot, added) for slot, added in sums.items()])


def list_request(connection: sqlite3.Connection, position: int, event: Completion) -> None:
    """List a request of the ledger, inside a transaction."""
    cell = cell_of(event)
    named = (cell.key, cell.user, cell.team, cell.end_user, cell.model, cell.alias, cell.provider, status_of(event))
    row = (position, _ticks(event.time), response_id_of(event), event.request_id, *(name or None for name in named))
    connection.execute("INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


class SqliteActivity:
    """`Activity`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def named(self, period: str, dimension: Dimension, names: Sequence[str]) -> Mapping[str, Sums]:
        """Give the sums of some names."""
        query = f"{_READ} WHERE dimension = ? AND period = ? AND name IN ({_marks(names)})"
        found = await self._read(query, (dimension, period, *names))
        return {slot.name: sums for slot, sums in found}

    async def highest(self, dimension: Dimension, *, offset: int, limit: int) -> Sequence[tuple[str, Sums]]:
        """Give names, the highest spend first."""
        query = f"{_READ} WHERE dimension = ? AND period = 'all' ORDER BY spend DESC, name LIMIT ? OFFSET ?"
        return [(slot.name, sums) for slot, sums in await self._read(query, (dimension, limit, offset))]

    async def daily(self, dimension: Dimension, first: str, last: str, *, limit: int) -> Sequence[tuple[Slot, Sums]]:
        """Give every day's sums."""
        query = f"{_READ} WHERE dimension = ? AND period BETWEEN ? AND ? ORDER BY period, name LIMIT ?"
        return await self._read(query, (dimension, first, last, limit))

    async def cells(self, query: CellQuery, *, limit: int) -> Sequence[tuple[Slot, Sums]]:
        """Give the days' cells."""
        wanted = {name: value for name in _CELLS_BY if (value := getattr(query, name)) is not None}
        whose = _by_the_first(list(wanted)) if wanted else ["dimension = 'cell'"]  # which others have no holder
        where = " AND ".join(["period BETWEEN ? AND ?", *whose])
        text = f"{_READ} WHERE {where} ORDER BY period, name LIMIT ?"
        return await self._read(text, (query.first, query.last, *wanted.values(), limit))

    async def page(self, query: SpendQuery) -> SpendPage:
        """List requests."""
        raw, total = await self._database.read(lambda connection: _page(connection, query))
        return SpendPage(requests=tuple(cast("Completion", decode(event)) for event in raw), total=total)

    async def keys(self, key_ids: Sequence[str]) -> Mapping[str, Key]:
        """Give keys by their first hashes."""
        query = f"SELECT record FROM keys WHERE json_extract(CAST(record AS TEXT), '$.key_id') IN ({_marks(key_ids)})"  # noqa: S608
        rows = await self._database.read(lambda connection: connection.execute(query, tuple(key_ids)).fetchall())
        return {key.key_id: key for key in (decode_key(raw) for (raw,) in rows)}

    async def stored(self) -> AsyncIterator[tuple[Slot, Sums]]:
        """Give every sum, a page at a time."""
        after = ("", "", "")
        query = f"{_READ} WHERE (dimension, period, name) > (?, ?, ?) ORDER BY dimension, period, name LIMIT {_PAGE}"
        while page := await self._read(query, after):
            for slot, sums in page:
                after = (slot.dimension, slot.period, slot.name)
                yield slot, sums

    async def put(self, sums: Mapping[Slot, Sums]) -> None:
        """Replace sums; those of nothing go."""
        rows = [_row(slot, right) for slot, right in sums.items() if right != ZERO]
        gone = [(slot.dimension, slot.period, slot.name) for slot, right in sums.items() if right == ZERO]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_PUT, rows)
            connection.executemany("DELETE FROM activity WHERE (dimension, period, name) = (?, ?, ?)", gone)

        await self._database.run(work)

    async def unlisted(self, requests: Sequence[Completion]) -> Sequence[Completion]:
        """Give the requests without a row."""
        ids = [request.event_id for request in requests]
        query = f"SELECT event_id FROM events JOIN requests USING (position) WHERE event_id IN ({_marks(ids)})"  # noqa: S608
        rows = await self._database.read(lambda connection: connection.execute(query, ids).fetchall())
        listed = {event_id for (event_id,) in rows}
        return [request for request in requests if request.event_id not in listed]

    async def enlist(self, requests: Sequence[Completion]) -> None:
        """Make the rows of requests."""
        await self._database.run(lambda connection: _enlist(connection, requests))

    async def _read(self, query: str, values: Sequence[Any]) -> list[tuple[Slot, Sums]]:
        rows = await self._database.read(lambda connection: connection.execute(query, values).fetchall())
        return [(Slot(*row[:3]), sums_of(row[3:])) for row in rows]


def _page(connection: sqlite3.Connection, query: SpendQuery) -> tuple[list[bytes], int]:
    where, values = _where(query)
    total: int = connection.execute(f"SELECT count(*) FROM requests {where}", values).fetchone()[0]  # noqa: S608
    limit, offset, order = query.limit, query.offset, "DESC"
    is_nearer_to_the_end = offset > total // 2
    if is_nearer_to_the_end:
        limit, offset, order = min(limit, max(0, total - offset)), max(0, total - offset - limit), "ASC"
    rows = connection.execute(
        f"SELECT position FROM requests {where} ORDER BY time {order}, position {order} LIMIT ? OFFSET ?",  # noqa: S608
        (*values, limit, offset),
    ).fetchall()
    positions = [position for (position,) in (reversed(rows) if is_nearer_to_the_end else rows)]
    found = connection.execute(f"SELECT position, event FROM events WHERE position IN ({_marks(positions)})", positions)  # noqa: S608
    events: dict[int, bytes] = dict(found)
    return [events[position] for position in positions], total


def _where(query: SpendQuery) -> tuple[str, list[Any]]:
    given = {name: value for name in _LISTED_BY if (value := getattr(query, name)) is not None}
    if query.status == "failure":  # few are
        given = {"status": query.status, **given}
    conditions, values = _by_the_first(list(given)), list(given.values())
    if query.name is not None:
        conditions = ["(response_id = ? OR call_id = ?)", *(f'+"{name}" = ?' for name in given)]
        values = [query.name, query.name, *values]
    for bound, time in ((">=", query.since), ("<", query.until)):
        if time is not None:
            conditions.append(f"time {bound} ?")
            values.append(_ticks(time))
    return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), values


def _by_the_first(names: Sequence[str]) -> list[str]:
    """Have the first name's index used: without statistics SQLite takes any; a `+` keeps an index out of it."""
    return [f'{"+" if position else ""}"{name}" = ?' for position, name in enumerate(names)]


def _enlist(connection: sqlite3.Connection, requests: Sequence[Completion]) -> None:
    for request in requests:
        row = connection.execute("SELECT position FROM events WHERE event_id = ?", (request.event_id,)).fetchone()
        if row:
            list_request(connection, row[0], request)


def _row(slot: Slot, sums: Sums) -> tuple[Any, ...]:
    holders: tuple[str | None, ...] = (None, None, None)
    if slot.dimension == "cell":
        cell = cell_named(slot.name)
        holders = (cell.key or None, cell.user or None, cell.team or None)
    return (slot.dimension, slot.period, slot.name, *holders, *sums.values)


def _ticks(time: datetime) -> int:
    """Give microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
