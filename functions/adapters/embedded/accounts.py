"""Users and teams, in the ledger's SQLite file."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from events.accounts import (
    Account,
    AccountEvent,
    AccountKind,
    Team,
    account_after,
    alias_of,
    id_of,
    kind_of,
    subject_of,
    version_of,
)
from events.codec import decode_account, encode, encode_account
from functions.adapters.embedded.database import Database
from functions.gateway.ports import AccountChangedMeanwhile, AccountPage, AccountQuery

# One that is gone leaves its last version, without a record: made again, it goes on from there.
SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    kind TEXT, account_id TEXT, version INTEGER NOT NULL, alias TEXT, created_at TEXT, record BLOB,
    PRIMARY KEY (kind, account_id)
);
CREATE TABLE IF NOT EXISTS team_members (team_id TEXT, user_id TEXT, PRIMARY KEY (team_id, user_id));
CREATE INDEX IF NOT EXISTS teams_by_member ON team_members (user_id);
"""


class SqliteAccounts:
    """`Accounts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, kind: AccountKind, account_id: str) -> Account | None:
        """Give the user or team."""
        row = await self._row(kind, account_id)
        return decode_account(kind, row[1]) if row and row[1] else None

    async def next_version(self, kind: AccountKind, account_id: str) -> int:
        """Give what follows the last version."""
        row = await self._row(kind, account_id)
        return row[0] + 1 if row else 1

    async def named(self, kind: AccountKind, account_ids: Sequence[str]) -> Mapping[str, Account]:
        """Give users or teams by their ids."""
        ids = json.dumps(account_ids)
        query = (
            "SELECT record FROM accounts WHERE kind = ? AND account_id IN (SELECT value FROM json_each(?)) "
            "AND record IS NOT NULL"
        )
        rows = await self._database.read(lambda connection: connection.execute(query, (kind, ids)).fetchall())
        return {id_of(account): account for account in (decode_account(kind, raw) for (raw,) in rows)}

    async def page(self, kind: AccountKind, query: AccountQuery) -> AccountPage:
        """Give some users or teams."""
        return await self._database.read(lambda connection: _page(connection, kind, query))

    async def commit(self, events: Sequence[AccountEvent]) -> None:
        """Append and write, or nothing."""
        await self._database.run(lambda connection: _commit(connection, events))

    async def restore(self, kind: AccountKind, account_id: str, last: AccountEvent | None) -> None:
        """Replace the record."""
        await self._database.run(lambda connection: _restore(connection, kind, account_id, last))

    async def _row(self, kind: AccountKind, account_id: str) -> tuple[int, bytes | None] | None:
        query = "SELECT version, record FROM accounts WHERE kind = ? AND account_id = ?"
        return await self._database.read(lambda connection: connection.execute(query, (kind, account_id)).fetchone())


def _page(connection: sqlite3.Connection, kind: AccountKind, query: AccountQuery) -> AccountPage:
    wanted = {"kind": kind, **_wanted(query)}
    where = " AND ".join(["record IS NOT NULL", *(_CONDITIONS[name] for name in wanted)])
    total = connection.execute(f"SELECT count(*) FROM accounts WHERE {where}", wanted).fetchone()[0]  # noqa: S608 (ours)
    rows = connection.execute(
        f"SELECT record FROM accounts WHERE {where} "  # noqa: S608
        "ORDER BY created_at DESC, account_id DESC LIMIT :limit OFFSET :offset",
        {**wanted, "limit": query.limit, "offset": query.offset},
    ).fetchall()
    return AccountPage(accounts=tuple(decode_account(kind, raw) for (raw,) in rows), total=total)


_CONDITIONS: Mapping[str, str] = {
    "kind": "kind = :kind",
    "ids": "account_id IN (SELECT value FROM json_each(:ids))",
    "alias": "alias = :alias",
    "member": "account_id IN (SELECT team_id FROM team_members WHERE user_id = :member)",
}


def _wanted(query: AccountQuery) -> dict[str, Any]:
    ids = None if query.ids is None else json.dumps(query.ids)
    given = {"ids": ids, "alias": query.alias, "member": query.member}
    return {name: value for name, value in given.items() if value is not None}


def _commit(connection: sqlite3.Connection, events: Sequence[AccountEvent]) -> None:
    rows = {event.event_id: encode(event) for event in events}
    known = {event_id: raw for event_id in rows if (raw := _recorded(connection, event_id)) is not None}
    if known == rows:
        return  # a commit whose answer was lost
    if known:
        raise AccountChangedMeanwhile
    connection.executemany("INSERT INTO events (event_id, event) VALUES (?, ?)", list(rows.items()))
    for event in events:
        _write(connection, event)


def _restore(connection: sqlite3.Connection, kind: AccountKind, account_id: str, last: AccountEvent | None) -> None:
    if last is not None:
        _write(connection, last)
        return
    connection.execute("DELETE FROM accounts WHERE kind = ? AND account_id = ?", (kind, account_id))
    if kind == "team":
        connection.execute("DELETE FROM team_members WHERE team_id = ?", (account_id,))


def _recorded(connection: sqlite3.Connection, event_id: str) -> bytes | None:
    row = connection.execute("SELECT event FROM events WHERE event_id = ?", (event_id,)).fetchone()
    return row[0] if row else None


def _write(connection: sqlite3.Connection, event: AccountEvent) -> None:
    subject, after = subject_of(event), account_after(event)
    kept = (
        (None, None, None) if after is None else (alias_of(after), after.created_at.isoformat(), encode_account(after))
    )
    row = (kind_of(subject), id_of(subject), version_of(event), *kept)
    connection.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?, ?, ?)", row)
    if isinstance(subject, Team):
        connection.execute("DELETE FROM team_members WHERE team_id = ?", (subject.team_id,))
    if isinstance(after, Team):
        members = [(after.team_id, member.user_id) for member in after.members]
        connection.executemany("INSERT INTO team_members VALUES (?, ?)", members)
