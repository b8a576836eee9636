"""What instances on one machine tell each other of their cooldowns."""

from collections.abc import Mapping
from datetime import UTC, datetime

from functions.adapters.embedded.database import Database

SCHEMA = "CREATE TABLE IF NOT EXISTS cooldowns (model_id TEXT PRIMARY KEY, until REAL NOT NULL);"


class SqliteCooldowns:
    """`Cooldowns`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def announce(self, rests: Mapping[str, datetime]) -> None:
        """Tell the others."""
        statement = "INSERT OR REPLACE INTO cooldowns VALUES (?, ?)"
        rows = [(model_id, until.timestamp()) for model_id, until in rests.items()]
        await self._database.run(lambda connection: connection.executemany(statement, rows))

    async def read(self, now: datetime) -> Mapping[str, datetime]:
        """Give what was told and isn't over."""
        query = "SELECT model_id, until FROM cooldowns WHERE until > ?"
        rows = await self._database.read(lambda connection: connection.execute(query, (now.timestamp(),)).fetchall())
        return {model_id: datetime.fromtimestamp(until, UTC) for model_id, until in rows}
