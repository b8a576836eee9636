"""`python -m functions.replay [--repair]`: add up the ledger from nothing, and compare with the counters there are.

Exits with 0 where they agree, 1 where not, 2 where that can't be found out. `--repair` has the counters that differ say
what the ledger says; what has been announced stays announced. Run it while nothing is being folded.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from events.allowance import is_allowance
from events.budget import Budget, BudgetWindow, evolve, increments, is_counted
from events.codec import UndecodableEvent
from events.money import NanoUsd, usd
from functions import bootstrap
from functions.gateway.config import ConfigError
from functions.gateway.errors import StoreUnavailable
from functions.gateway.ports import Counters, Ledger


async def replayed(ledger: Ledger, budgets: Sequence[Budget]) -> dict[str, BudgetWindow]:
    """Fold every event of the ledger into fresh counters."""
    states: dict[str, BudgetWindow] = {}
    async for event in ledger.replay():
        if is_counted(event):
            for counter in increments(budgets, [event]):
                states[counter] = evolve(states.get(counter, BudgetWindow()), event)
    return states


async def compare(ledger: Ledger, counters: Counters, budgets: Sequence[Budget], *, repair: bool) -> int:
    """Say what differs, repair it if asked to, and give the exit code.

    The counter of an allowance may be gone: it is swept some days after its last event.
    """
    truth = await replayed(ledger, budgets)
    stored = {name: (await counters.read(name)).spent async for name in counters.names()}
    ours = {name for name in stored if _is_ours(name, budgets)} | set(truth)
    for name in sorted(set(stored) - ours):
        sys.stdout.write(f"{name}: counter {_shown(stored[name])}, not of this configuration; left alone\n")
    differing = 0
    for name in sorted(ours):
        counted, right = stored.get(name, BudgetWindow().spent), truth.get(name, BudgetWindow()).spent
        if counted == right or (is_allowance(name) and name not in stored):
            continue
        differing += 1
        sys.stdout.write(f"{name}: counter {_shown(counted)}, ledger {_shown(right)}\n")
        if repair:
            await counters.set_spent(name, right)
    repaired = " and were repaired" if repair and differing else ""
    windows = sum(1 for name in truth if not is_allowance(name))
    sys.stdout.write(f"{windows} counters replayed, {differing} differ{repaired}\n")
    return 1 if differing and not repair else 0


def _is_ours(counter: str, budgets: Sequence[Budget]) -> bool:
    return is_allowance(counter) or any(budget.has_counter(counter) for budget in budgets)


def _shown(spent: NanoUsd) -> str:
    return f"${usd(spent):.9f}"


async def main(arguments: Sequence[str]) -> int:
    """Do it with the backend and the budget that the environment names."""
    parser = argparse.ArgumentParser(prog="python -m functions.replay", allow_abbrev=False)
    parser.add_argument("--repair", action="store_true", help="have the counters that differ say what the ledger says")
    repair: bool = parser.parse_args(arguments).repair
    try:
        environment = bootstrap.read_environment()
        config = bootstrap.load_config(environment)
        async with bootstrap.open_stores(environment, must_exist=True) as stores:
            return await compare(stores.ledger, stores.counters, [config.budget], repair=repair)
    except (ConfigError, StoreUnavailable, UndecodableEvent) as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
