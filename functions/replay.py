"""`python -m functions.replay [--repair]`: fold the ledger from nothing, and compare with the counters there are.

Exits with 0 where they agree, 1 where not. `--repair` writes what the ledger says; run it while nothing is folded.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence

from events.budget import Budget, BudgetWindow, due_alerts, increments, is_counted
from events.money import NanoUsd, usd
from events.spend import CompletionFailed, SpendRecorded
from functions import bootstrap
from functions.gateway.ports import Counters, Ledger


async def replayed(ledger: Ledger, budgets: Sequence[Budget]) -> dict[str, BudgetWindow]:
    """Fold every event of the ledger into fresh counters."""
    states: dict[str, BudgetWindow] = {}
    async for event in ledger.replay():
        if is_counted(event):
            for budget in budgets:
                counter = budget.counter(budget.window(event.time))
                states[counter] = _grown(states.get(counter, BudgetWindow()), budget, event)
    return states


async def differences(counters: Counters, replayed: Mapping[str, BudgetWindow]) -> dict[str, BudgetWindow]:
    """Give the counters that are not what the replay says, as they are."""
    names = {name async for name in counters.names()} | set(replayed)
    stored = {name: await counters.read(name) for name in names}
    return {name: state for name, state in stored.items() if state != replayed.get(name, BudgetWindow())}


def _grown(state: BudgetWindow, budget: Budget, event: SpendRecorded | CompletionFailed) -> BudgetWindow:
    (cost,) = increments([budget], [event]).values()
    spent = NanoUsd(state.spent + cost)
    due = due_alerts(budget, budget.window(event.time), BudgetWindow(spent), event.time)
    return BudgetWindow(spent, frozenset(alert.percent for alert in due))


async def main(*, repair: bool) -> int:
    """Compare, say what differs, repair if asked to."""
    environment = bootstrap.Environment()
    config = bootstrap.load_config(environment)
    budgets = [config.budget] if config.budget else []
    async with bootstrap.open_stores(environment) as stores:
        truth = await replayed(stores.ledger, budgets)
        wrong = await differences(stores.counters, truth)
        for counter, state in wrong.items():
            right = truth.get(counter, BudgetWindow())
            sys.stdout.write(f"{counter}: counter {_shown(state)}, ledger {_shown(right)}\n")
            if repair:
                await stores.counters.write(counter, right)
    sys.stdout.write(f"{len(truth)} counters replayed, {len(wrong)} differ{' and were repaired' * repair}\n")
    return 1 if wrong and not repair else 0


def _shown(state: BudgetWindow) -> str:
    return f"${usd(state.spent):.9f} {sorted(state.crossed)}"


if __name__ == "__main__":
    sys.exit(asyncio.run(main(repair="--repair" in sys.argv[1:])))
