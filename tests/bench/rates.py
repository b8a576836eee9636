"""`python -m tests.bench.rates`: what do rate limits cost a request: round trips, latency, processor time?

In one process, on the embedded store: one instance, or two that each client asks in turn. The gate takes 20 ms a call,
as one in another zone might. Clients ask without pause, for answers that take 50 ms.
"""

import asyncio
import itertools
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from events.allowance import Allowance
from events.money import NanoUsd
from functions.adapters.embedded.stores import open_embedded
from functions.gateway.errors import RateLimited
from functions.gateway.ports import Gate, Grant, Rate, RateKind
from functions.gateway.rates import RateAdmission
from tests.bench.admission import CountedGate
from tests.builders import chat_request

GATE_S = 0.02
ANSWER_S = 0.05
SECONDS = 3.0
LIMITS = (1, 10, 60, 6000)
CLIENTS = (1, 8)
CPU_REQUESTS = 5_000
ASKED = chat_request(messages=[{"role": "user", "content": "word " * 240}], max_tokens=200)


class DistantGate(CountedGate):
    """A gate that is counted, and takes its time."""

    def __init__(self, gate: Gate, call_s: float) -> None:
        super().__init__(gate)
        self._call_s = call_s

    async def take(self, asked: Allowance, *, limit: NanoUsd, gate_expires_at: datetime | None = None) -> Grant:
        """Take a while."""
        await asyncio.sleep(self._call_s)
        return await super().take(asked, limit=limit, gate_expires_at=gate_expires_at)

    async def give_back(self, allowance_id: str, rest: NanoUsd) -> None:
        """Take a while."""
        await asyncio.sleep(self._call_s)
        await super().give_back(allowance_id, rest)


@dataclass
class Run:
    """What clients have seen. A minute begins when the run does."""

    gate: DistantGate
    begun: float = field(default_factory=time.monotonic)
    added_ms: list[float] = field(default_factory=list[float])
    refused: int = 0

    def now(self) -> datetime:
        """The time of a clock that starts with a minute."""
        return datetime(2026, 11, 24, 12, tzinfo=UTC) + timedelta(seconds=time.monotonic() - self.begun)

    async def client(self, instances: Sequence[RateAdmission], rate: Rate) -> None:
        """Ask one after the other without pause until the time is over, or nothing is left."""
        for admission in itertools.cycle(instances):
            if time.monotonic() - self.begun >= SECONDS:
                return
            started = time.monotonic()
            try:
                async with admission.hold(ASKED, (rate,)) as hold:
                    held = time.monotonic()
                    await asyncio.sleep(ANSWER_S)
                    answered = time.monotonic()
                    hold.settle(NanoUsd(1), 250)
            except RateLimited:
                self.refused += 1
                if rate.kind == "requests":
                    return
                await asyncio.sleep(ANSWER_S)
                continue
            self.added_ms.append(1000 * (held - started + time.monotonic() - answered))


async def show_round_trips(gate: Gate) -> None:
    """Print round trips and added latency."""
    print(f"{'':36}{'answered':>9}{'refused':>9}{'calls/request':>15}{'added p50 / p99, ms':>22}")
    kinds: tuple[RateKind, ...] = ("parallel", "requests")
    for instances, kind, limit, clients in itertools.product((1, 2), kinds, LIMITS, CLIENTS):
        run = await _run(gate, Rate(scope=f"key:{uuid.uuid4().hex}", kind=kind, limit=limit), instances, clients)
        added = sorted(run.added_ms)
        latency = f"{statistics.median(added):.1f} / {added[len(added) * 99 // 100]:.1f}"
        name = f"{instances} instances, {kind} {limit}, {clients} at once"
        calls = run.gate.calls / len(added)
        print(f"{name:36}{len(added):>9}{run.refused:>9}{calls:>15.3f}{latency:>22}", flush=True)


async def _run(gate: Gate, rate: Rate, instances: int, clients: int) -> Run:
    run = Run(DistantGate(gate, GATE_S))
    async with asyncio.TaskGroup() as tasks:
        admissions = [_admission(run, tasks) for _ in range(instances)]
        tending = [tasks.create_task(admission.tend()) for admission in admissions]
        await asyncio.gather(*(run.client(admissions, rate) for _ in range(clients)))
        for task in tending:
            task.cancel()
    return run


async def show_cpu(gate: Gate) -> None:
    """Print the processor time of one request with three limits, and of its headers."""
    rates = [Rate(scope="key:5f", kind="requests", limit=1_000_000)]
    rates += [Rate(scope="key:5f", kind="tokens", limit=10**9), Rate(scope="key:5f", kind="parallel", limit=1000)]
    bare = await _cpu_us(gate, [])
    print(f"{'three limits':24}{await _cpu_us(gate, rates) - bare:.1f} µs of processor time a request, with headers")


async def _cpu_us(gate: Gate, rates: list[Rate]) -> float:
    run = Run(DistantGate(gate, 0))
    async with asyncio.TaskGroup() as tasks:
        admission = _admission(run, tasks)
        started = time.process_time()
        for _ in range(CPU_REQUESTS):
            async with admission.hold(ASKED, rates) as hold:
                _ = hold.headers
                hold.settle(NanoUsd(1), 250)
        return (time.process_time() - started) / CPU_REQUESTS * 1e6


def _admission(run: Run, tasks: asyncio.TaskGroup) -> RateAdmission:
    return RateAdmission(
        run.gate, tasks, now=run.now, clock=time.monotonic, new_id=lambda: uuid.uuid4().hex, random=random.random
    )


async def main() -> None:
    """Print all of it."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_embedded(Path(folder)) as stores:
            await show_round_trips(stores.gate)
            await show_cpu(stores.gate)


if __name__ == "__main__":
    asyncio.run(main())
