"""One SQLite file, used from one thread of its own so that the event loop never waits for the disk."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from functions.gateway.errors import StoreUnavailable

_LOCK_WAIT_S = 5
T = TypeVar("T")


class Database:
    """A connection and its thread. Every `run` is one transaction, on disk when it returns."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._thread = thread

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction that takes the write lock at its start. Raises `StoreUnavailable`."""
        return await self.on_thread(lambda: self.transaction(work))

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` without a lock: it sees the last commit. Raises `StoreUnavailable`."""
        return await self.on_thread(lambda: query(self._connection))

    def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do what `run` does, for code that is on the thread already. Raises `sqlite3.OperationalError`."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._connection)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return result

    async def on_thread(self, work: Callable[[], T]) -> T:
        """Call `work` on the connection's thread, after what was asked for before. Raises `StoreUnavailable`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"The store on this machine does not answer ({error}). Try again.") from error


@asynccontextmanager
async def open_database(path: Path, schema: str, *, is_durable: bool = True) -> AsyncGenerator[Database]:
    """Open the file, making it and its tables where they are missing; several processes may do so at once.

    A commit survives the death of the process; if `is_durable`, the death of the machine too. Raises
    `StoreUnavailable` for what can't be opened or is no such file.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix=path.stem) as thread:
        try:
            connection = await asyncio.get_running_loop().run_in_executor(thread, _connect, path, schema, is_durable)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(f"The store {path} can't be opened ({error}). Check STATE_DIR.") from error
        try:
            yield Database(connection, thread)
        finally:
            await asyncio.get_running_loop().run_in_executor(thread, connection.close)


def _connect(path: Path, schema: str, is_durable: bool) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
        connection.executescript(f"BEGIN IMMEDIATE; {schema} COMMIT;")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
