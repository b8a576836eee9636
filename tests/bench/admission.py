"""What admission costs a request: processor time, and round trips to the gate, in one process on the embedded store."""

import asyncio
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from events.allowance import Allowance
from events.money import NanoUsd
from functions.adapters.embedded.stores import open_embedded
from functions.gateway.allowances import AllowanceAdmission, open_admission
from functions.gateway.ports import Counters, Gate, Grant, Limits
from tests.builders import budget, chat_request, deployment

REQUESTS = 20_000
AT_ONCE = 16
COST = NanoUsd(1_500_000)


class CountedGate:
    """A gate that counts its round trips."""

    def __init__(self, gate: Gate) -> None:
        self.calls = 0
        self._gate = gate
        self.admitted = gate.admitted
        self.unsettled = gate.unsettled
        self.known = gate.known
        self.amend = gate.amend
        self.sweep = gate.sweep

    async def take(self, asked: Allowance, *, limit: NanoUsd, gate_expires_at: datetime | None = None) -> Grant:
        """Count it."""
        self.calls += 1
        return await self._gate.take(asked, limit=limit, gate_expires_at=gate_expires_at)

    async def give_back(self, allowance_id: str, rest: NanoUsd) -> None:
        """Count it."""
        self.calls += 1
        await self._gate.give_back(allowance_id, rest)


async def show_admission() -> None:
    """Print both, without a budget, with one, and with four."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_embedded(Path(folder)) as stores:
            scopes = ("team:red", "user:ada", "key:5f3c")
            several = Limits(budgets=tuple(replace(budget(max_budget=1e6), budget_id=scope) for scope in scopes))
            gate = CountedGate(stores.gate)
            bare = await _cpu_us(gate, stores.counters, None, Limits())
            for what, limits in (("one budget", Limits()), ("four budgets", several)):
                gate.calls = 0
                used = await _cpu_us(gate, stores.counters, 1e6, limits)
                print(f"{what:16}{used - bare:8.1f} µs a request, {gate.calls / REQUESTS:.4f} round trips a request")


async def _cpu_us(gate: CountedGate, counters: Counters, max_budget: float | None, limits: Limits) -> float:
    """Processor microseconds of the whole process, its store's thread too, for each request."""
    allowed = budget(max_budget=max_budget or 0)
    allowed = allowed if max_budget else replace(allowed, max_budget=None)
    async with open_admission(lambda tasks: _admission(allowed, gate, counters, tasks)) as admission:
        started = time.process_time()
        await asyncio.gather(*(_client(admission, limits) for _ in range(AT_ONCE)))
        return (time.process_time() - started) / REQUESTS * 1e6


def _admission(allowed: object, gate: CountedGate, counters: Counters, tasks: asyncio.TaskGroup) -> AllowanceAdmission:
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex  # noqa: E731
    return AllowanceAdmission(
        allowed,  # pyright: ignore[reportArgumentType]
        gate,
        counters,
        tasks,
        now=lambda: datetime.now(UTC),
        clock=asyncio.get_running_loop().time,
        new_id=new_id,
        exceeded_status=429,
    )


async def _client(admission: AllowanceAdmission, limits: Limits) -> None:
    request = chat_request(messages=[{"role": "user", "content": "word " * 240}], max_tokens=200)
    chain = [deployment(), deployment("anthropic", "claude-sonnet-4-6")]
    for _ in range(REQUESTS // AT_ONCE):
        async with admission.hold(request, chain, limits) as hold:
            await asyncio.sleep(0)
            hold.settle(COST, tokens=250)
