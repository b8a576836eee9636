"""`python -m functions.ledger export [--out FILE] | import FILE`: every event of the ledger as one line of JSON.

Each line is the event as a CloudEvent. Importing takes what is not known yet. Exits with 0 where all went well, 1 where
lines were refused, 2 where nothing more could be done. Run it while nothing is being served.
"""

import argparse
import asyncio
import sys
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from events.budget import Budget
from events.codec import UndecodableEvent, encode
from functions import bootstrap
from functions.adapters.stores import Stores
from functions.gateway.config import ConfigError
from functions.gateway.errors import StoreUnavailable
from functions.gateway.importing import Importer
from functions.gateway.limits import Defaults
from functions.gateway.ports import Ledger


async def export_to(file: BinaryIO, ledger: Ledger) -> int:
    """Write every event, as it is read; gives how many there were."""
    count = 0
    async for event in ledger.replay():
        file.write(encode(event) + b"\n")
        count += 1
    file.flush()
    return count


async def import_from(
    file: BinaryIO, stores: Stores, budgets: Sequence[Budget], defaults: Defaults, now: datetime
) -> int:
    """Take every line, say what became of them, and give the exit code."""
    importer = Importer(
        budgets=budgets,
        defaults=defaults,
        ledger=stores.ledger,
        counters=stores.counters,
        gate=stores.gate,
        keys=stores.keys,
        accounts=stores.accounts,
        now=lambda: now,
        new_id=lambda: uuid.uuid4().hex,
    )
    imported = await importer.take(file)
    for refusal in imported.refusals:
        sys.stderr.write(f"line {refusal.line}: {refusal.reason}\n")
    counts = f"{imported.new} events are new, {imported.known} were known, {len(imported.refusals)} are refused"
    sys.stdout.write(f"{counts}\n")
    return 1 if imported.refusals else 0


async def _export(out: Path | None) -> int:
    environment = bootstrap.read_environment()
    async with bootstrap.open_stores(environment, must_exist=True) as stores:
        with _written(out) as file:
            count = await export_to(file, stores.ledger)
    sys.stderr.write(f"{count} events are exported\n")
    return 0


@contextmanager
def _written(out: Path | None) -> Generator[BinaryIO]:
    """Open what is written to; a file is put in its place once it is whole."""
    if out is None:
        yield sys.stdout.buffer
        return
    part = out.with_name(f"{out.name}.part")
    with part.open("wb") as file:
        yield file
    part.replace(out)


async def _import(file: BinaryIO) -> int:
    environment = bootstrap.read_environment()
    config = bootstrap.load_config(environment)
    async with bootstrap.open_stores(environment) as stores:
        return await import_from(file, stores, [config.budget], config.defaults, datetime.now(UTC))


def main(arguments: Sequence[str]) -> int:
    """Do it with the backend that the environment names."""
    parser = argparse.ArgumentParser(prog="python -m functions.ledger", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write every event", allow_abbrev=False)
    export.add_argument("--out", type=Path, help="a file, which is replaced; otherwise it goes to standard output")
    commands.add_parser("import", help="take events", allow_abbrev=False).add_argument("file", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.command == "import":
            with given.file.open("rb") as file:
                return asyncio.run(_import(file))
        return asyncio.run(_export(given.out))
    except (ConfigError, StoreUnavailable, UndecodableEvent, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
