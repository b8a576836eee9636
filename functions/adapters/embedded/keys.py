"""Virtual keys, in the ledger's SQLite file."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from events.codec import decode_key, encode, encode_key
from events.keys import Key, KeyEvent, is_renewed, key_after, key_before
from functions.adapters.embedded.database import Database
from functions.gateway.ports import AliasTaken, KeyChangedMeanwhile, KeyPage, KeyQuery, KeyTaken

_KEY_ID = "json_extract(CAST(record AS TEXT), '$.key_id')"
_EXPIRY = "substr(json_extract(CAST(record AS TEXT), '$.expires_at'), 1, 19)"  # to the second

# A key that is gone leaves its hash, without a record: it is never a key again.
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS keys (
    key_hash TEXT PRIMARY KEY, key_alias TEXT UNIQUE, user_id TEXT, team_id TEXT, created_at TEXT, record BLOB
);
CREATE INDEX IF NOT EXISTS keys_by_user ON keys (user_id);
CREATE INDEX IF NOT EXISTS keys_by_team ON keys (team_id);
CREATE INDEX IF NOT EXISTS keys_by_id ON keys ({_KEY_ID});
CREATE INDEX IF NOT EXISTS keys_by_expiry ON keys ({_EXPIRY});
"""
_PAGE = 500
_FILTERS = ("key_hash", "key_alias", "user_id", "team_id")


class SqliteKeys:
    """`Keys`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key_hash: str) -> Key | None:
        """Give the key."""
        query = "SELECT record FROM keys WHERE key_hash = ? AND record IS NOT NULL"
        row = await self._database.read(lambda connection: connection.execute(query, (key_hash,)).fetchone())
        return decode_key(row[0]) if row else None

    async def by_id(self, key_id: str) -> Key | None:
        """Give the key, by the index of ids."""
        query = f"SELECT record FROM keys WHERE {_KEY_ID} = ?"  # noqa: S608 (our names)
        row = await self._database.read(lambda connection: connection.execute(query, (key_id,)).fetchone())
        return decode_key(row[0]) if row else None

    async def expiring(self, after: datetime, before: datetime) -> Sequence[Key]:
        """Give those of these seconds, less those of the first that expire no later than `after`."""
        query = f"SELECT record FROM keys WHERE {_EXPIRY} BETWEEN ? AND ?"  # noqa: S608 (our names)
        seconds = (_second(after), _second(before))
        rows = await self._database.read(lambda connection: connection.execute(query, seconds).fetchall())
        keys = [decode_key(raw) for (raw,) in rows]
        return [key for key in keys if key.expires_at and after < key.expires_at <= before]

    async def page(self, query: KeyQuery) -> KeyPage:
        """Give some keys."""
        return await self._database.read(lambda connection: _page(connection, query))

    async def all(self) -> AsyncIterator[Key]:
        """Give every key, a page at a time."""
        key_hash = ""
        while page := await self._page_after(key_hash):
            key_hash = page[-1][0]
            for _, raw in page:
                yield decode_key(raw)

    async def _page_after(self, key_hash: str) -> list[tuple[str, bytes]]:
        query = "SELECT key_hash, record FROM keys WHERE key_hash > ? AND record IS NOT NULL ORDER BY key_hash LIMIT ?"
        return await self._database.read(lambda connection: connection.execute(query, (key_hash, _PAGE)).fetchall())

    async def commit(self, events: Sequence[KeyEvent]) -> None:
        """Append and write, or nothing."""
        await self._database.run(lambda connection: _commit(connection, events))

    async def restore(self, before: Key | None, after: Key | None) -> None:
        """Replace the record."""
        await self._database.run(lambda connection: _restore(connection, before, after))


def _second(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _page(connection: sqlite3.Connection, query: KeyQuery) -> KeyPage:
    wanted = {name: getattr(query, name) for name in _FILTERS if getattr(query, name) is not None}
    where = " AND ".join(["record IS NOT NULL", *(f"{name} = :{name}" for name in wanted)])
    total = connection.execute(f"SELECT count(*) FROM keys WHERE {where}", wanted).fetchone()[0]  # noqa: S608 (our names)
    rows = connection.execute(
        f"SELECT record FROM keys WHERE {where} ORDER BY created_at DESC, key_hash DESC LIMIT :limit OFFSET :offset",  # noqa: S608
        {**wanted, "limit": query.limit, "offset": query.offset},
    ).fetchall()
    return KeyPage(keys=tuple(decode_key(raw) for (raw,) in rows), total=total)


def _commit(connection: sqlite3.Connection, events: Sequence[KeyEvent]) -> None:
    rows = {event.event_id: encode(event) for event in events}
    known = {event_id: raw for event_id in rows if (raw := _recorded(connection, event_id)) is not None}
    if known == rows:
        return  # a commit whose answer was lost
    if known:
        raise KeyChangedMeanwhile
    connection.executemany("INSERT INTO events (event_id, event) VALUES (?, ?)", list(rows.items()))
    for event in events:
        _write(connection, key_before(event), key_after(event))


def _recorded(connection: sqlite3.Connection, event_id: str) -> bytes | None:
    row = connection.execute("SELECT event FROM events WHERE event_id = ?", (event_id,)).fetchone()
    return row[0] if row else None


def _write(connection: sqlite3.Connection, before: Key | None, after: Key | None) -> None:
    if before and (after is None or is_renewed(before, after)):
        _bury(connection, before)
    if after is None:
        return
    if before is None or is_renewed(before, after):
        _check_hash(connection, after.key_hash)
    _check_alias(connection, after)
    _put(connection, after)


def _restore(connection: sqlite3.Connection, before: Key | None, after: Key | None) -> None:
    if after is not None:
        _put(connection, after)
    elif before is not None:
        _bury(connection, before)


def _bury(connection: sqlite3.Connection, key: Key) -> None:
    connection.execute("INSERT OR REPLACE INTO keys (key_hash) VALUES (?)", (key.key_hash,))


def _put(connection: sqlite3.Connection, after: Key) -> None:
    row = (after.key_hash, after.key_alias, after.user_id, after.team_id, after.created_at.isoformat())
    connection.execute("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?)", (*row, encode_key(after)))


def _check_hash(connection: sqlite3.Connection, key_hash: str) -> None:
    if connection.execute("SELECT 1 FROM keys WHERE key_hash = ?", (key_hash,)).fetchone():
        raise KeyTaken


def _check_alias(connection: sqlite3.Connection, key: Key) -> None:
    query = "SELECT 1 FROM keys WHERE key_alias = ? AND key_hash != ?"
    if connection.execute(query, (key.key_alias, key.key_hash)).fetchone():
        raise AliasTaken
