"""`python -m functions.replay [--repair]`: add up the ledger from nothing, and compare with what the stores say.

Exits with 0 where they agree, 1 where not, 2 where that can't be found out. `--repair` has the stores say what the
ledger says; what has been announced stays announced. Run it while nothing is being folded, and no key, user or team
is changed.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple

from events.activity import Sums
from events.allowance import is_allowance
from events.budget import Budget
from events.codec import UndecodableEvent
from functions import bootstrap
from functions.adapters.stores import Stores
from functions.gateway.config import ConfigError
from functions.gateway.errors import StoreUnavailable
from functions.gateway.replaying import (
    Difference,
    Replayed,
    differing_accounts,
    differing_counters,
    differing_keys,
    dollars,
    is_ours,
    replayed,
    stored_accounts,
    stored_counters,
    stored_keys,
)
from functions.gateway.spend_replay import compare_activity


async def compare(stores: Stores, budgets: Sequence[Budget], *, repair: bool) -> int:
    """Say what differs, repair it if asked to, and give the exit code."""
    truth = await replayed(stores.ledger.replay(), budgets, stores.gate)
    differences = [
        *await _counters(stores, truth, budgets),
        *await _keys(stores, truth),
        *await _accounts(stores, truth),
    ]
    for difference in differences:
        sys.stdout.write(f"{difference.line}\n")
        if repair:
            await difference.repair()
    differing = len(differences) + await _activity(stores, repair=repair)
    repaired = " and were repaired" if repair and differing else ""
    sys.stdout.write(f"{_amount(truth)} replayed, {differing} differ{repaired}\n")
    return 1 if differing and not repair else 0


async def _counters(stores: Stores, truth: Replayed, budgets: Sequence[Budget]) -> list[Difference]:
    stored = await stored_counters(stores.counters)
    ours = {name: spent for name, spent in stored.items() if is_ours(name, truth.counters, budgets)}
    for name in sorted(stored.keys() - ours.keys()):
        sys.stdout.write(f"{name}: counter {dollars(stored[name])}, not of this configuration; left alone\n")
    return await differing_counters(ours, truth.counters, stores.counters, stores.gate)


async def _keys(stores: Stores, truth: Replayed) -> list[Difference]:
    return differing_keys(await stored_keys(stores.keys), truth.keys, stores.keys)


async def _accounts(stores: Stores, truth: Replayed) -> list[Difference]:
    return await differing_accounts(await stored_accounts(stores.accounts), truth.account_changes, stores.accounts)


async def _activity(stores: Stores, *, repair: bool) -> int:
    found = await compare_activity(stores.ledger, stores.activity, repair=repair)
    for slot, (counted, right) in sorted(found.sums.items(), key=lambda entry: astuple(entry[0])):
        name = f" {slot.name}" if slot.name else ""
        sys.stdout.write(f"{slot.period} {slot.dimension}{name}: sums {_sums(counted)}, ledger {_sums(right)}\n")
    if found.unlisted:
        sys.stdout.write(f"{found.unlisted} requests are not listed\n")
    return len(found.sums) + found.unlisted


def _sums(sums: Sums) -> str:
    """Say what a sum says, less its zeros."""
    given = {name: value for name, value in asdict(sums).items() if value}
    return (
        ", ".join(f"{dollars(value) if name == 'spend' else value} {name}" for name, value in given.items()) or "none"
    )


def _amount(truth: Replayed) -> str:
    counters = f"{sum(1 for name in truth.counters if not is_allowance(name))} counters"
    return f"{counters} and {len(truth.keys)} keys" if truth.keys else counters


async def main(arguments: Sequence[str]) -> int:
    """Do it with the backend and the budget that the environment names."""
    parser = argparse.ArgumentParser(prog="python -m functions.replay", allow_abbrev=False)
    parser.add_argument("--repair", action="store_true", help="have the stores say what the ledger says")
    repair: bool = parser.parse_args(arguments).repair
    try:
        environment = bootstrap.read_environment()
        config = bootstrap.load_config(environment)
        async with bootstrap.open_stores(environment, must_exist=True) as stores:
            return await compare(stores, [config.budget], repair=repair)
    except (ConfigError, StoreUnavailable, UndecodableEvent) as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
