"""One SQLite file, used from one thread of its own so that the event loop never waits for the disk."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from functions.gateway.errors import StoreUnavailable, Unstorable

_LOCK_WAIT_S = 5
T = TypeVar("T")


class Database:
    """A connection and its thread. Every `run` is one transaction, on disk when it returns."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor, path: Path) -> None:
        self._connection = connection
        self._thread = thread
        self._path = path
        self._file = _identity(path)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction that takes the write lock at its start. Raises `StoreUnavailable`."""
        return await self.on_thread(lambda: self.transaction(work))

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` without a lock: it sees the last commit. Raises `StoreUnavailable`."""

        def checked() -> T:
            result = query(self._connection)
            self._check_file()
            return result

        return await self.on_thread(checked)

    def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do what `run` does, for code that is on the thread already. Raises `StoreUnavailable`, `sqlite3.Error`."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite itself may have rolled it back
                self._connection.execute("ROLLBACK")
            raise
        self._check_file()
        return result

    async def on_thread(self, work: Callable[[], T]) -> T:
        """Call `work` on the connection's thread, after what was asked for before. Raises `StoreUnavailable`."""
        with sqlite_failures():
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _check_file(self) -> None:
        """Refuse what was done to a file that nobody will find again: the path leads to another one, or to none."""
        if _identity(self._path) != self._file:
            name = self._path.name  # clients see the message, and the folder is none of their business
            raise StoreUnavailable(f"{name} in STATE_DIR was removed or replaced while in use. Restart the gateway.")


@asynccontextmanager
async def open_database(path: Path, schema: str, *, is_durable: bool = True) -> AsyncGenerator[Database]:
    """Open the file, making it and its tables where they are missing; several processes may do so at once.

    A commit survives the death of the process; if `is_durable`, the death of the machine too. Raises
    `StoreUnavailable`.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix=path.stem) as thread:
        with sqlite_failures():
            connection = await asyncio.get_running_loop().run_in_executor(thread, _connect, path, schema, is_durable)
        try:
            yield Database(connection, thread, path)
        finally:
            await asyncio.get_running_loop().run_in_executor(thread, connection.close)


@contextmanager
def sqlite_failures() -> Generator[None]:
    """Give SQLite's failures, and the disk's, their one shape; those of the data or the statement are for good."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError) as error:
        raise Unstorable(f"The store on this machine refuses this ({error}).") from error
    except (sqlite3.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StoreUnavailable(f"The store on this machine does not answer ({reason}). Try again.") from error


def _connect(path: Path, schema: str, is_durable: bool) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
        connection.executescript(f"BEGIN IMMEDIATE; {schema} COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
