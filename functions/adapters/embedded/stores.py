"""The embedded backend: two SQLite files, so that publishing and folding don't wait for each other's locks.

Cooldowns have a connection of their own, and so have reports: a request's reading of its budget does not queue behind
them.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from functions.adapters.embedded import accounts, activity, bus, cooldowns, gate, keys, ledger
from functions.adapters.embedded.accounts import SqliteAccounts
from functions.adapters.embedded.activity import SqliteActivity
from functions.adapters.embedded.bus import SqliteBus
from functions.adapters.embedded.cooldowns import SqliteCooldowns
from functions.adapters.embedded.database import Database, open_database
from functions.adapters.embedded.gate import SqliteGate
from functions.adapters.embedded.keys import SqliteKeys
from functions.adapters.embedded.ledger import SqliteCounters, SqliteDeliveredAlerts, SqliteLedger
from functions.adapters.stores import Stores
from functions.gateway.errors import StoreUnavailable

_SCHEMA = ledger.SCHEMA + gate.SCHEMA + keys.SCHEMA + accounts.SCHEMA + activity.SCHEMA


@asynccontextmanager
async def open_embedded(state_dir: Path, *, must_exist: bool = False) -> AsyncGenerator[Stores]:
    """Open the stores in `state_dir`, which is made where it is missing. Raises `StoreUnavailable`."""
    path = state_dir / "ledger.sqlite3"
    if must_exist and not path.is_file():
        raise StoreUnavailable(f"There is no ledger at {path.absolute()}. Set STATE_DIR to the folder that has it.")
    async with (
        open_database(path, _SCHEMA) as ledger_file,
        open_database(path, cooldowns.SCHEMA, is_durable=False) as cooldowns_file,
        open_database(path, activity.SCHEMA) as reports_file,
        open_bus_file(state_dir) as bus_file,
    ):
        yield Stores(
            ledger=SqliteLedger(ledger_file),
            counters=SqliteCounters(ledger_file),
            gate=SqliteGate(ledger_file),
            keys=SqliteKeys(ledger_file),
            activity=SqliteActivity(reports_file),
            accounts=SqliteAccounts(ledger_file),
            delivered_alerts=SqliteDeliveredAlerts(ledger_file),
            cooldowns=SqliteCooldowns(cooldowns_file),
            bus=SqliteBus(bus_file),
        )


@asynccontextmanager
async def open_bus_file(state_dir: Path, *, is_durable: bool = True) -> AsyncGenerator[Database]:
    """Open the bus alone. Who only takes and acknowledges needs no durable commits: what is lost comes again."""
    async with open_database(state_dir / "bus.sqlite3", bus.SCHEMA, is_durable=is_durable) as database:
        yield database
