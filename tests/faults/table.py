"""The table: every fault, on every wire, streamed or not, with and without a fallback, through the real gateway."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.conftest import CASSETTES
from tests.faults.behaviour import Script
from tests.faults.client import Outcome, Received, ask
from tests.faults.control import billed_cost, reported_cost
from tests.faults.faults import FAULTS, Fault, Mode, recorded_faults
from tests.faults.gateway import Deployed, Gateway, Recorded
from tests.faults.upstream import Seen
from tests.faults.wires import WIRES

MOST_ATTEMPTS = 4
TIMEOUTS = {"timeout": 3, "stream_timeout": 1.5, "idle_timeout": 1.5}
REQUEST_TIMEOUT_S = 12
_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class Row:
    """One request of the table. Its names are those of its deployments and its call id."""

    number: int
    fault: Fault
    wire: str
    mode: Mode
    has_fallback: bool

    @property
    def name(self) -> str:
        """The deployment that is faulty, and the alias that is asked for."""
        return f"row-{self.number}"

    @property
    def second(self) -> str:
        """The deployment that takes over, which speaks the next wire and is every such row's."""
        return f"second-{WIRES[(WIRES.index(self.wire) + 1) % len(WIRES)]}"

    @property
    def allowed(self) -> tuple[Outcome, ...]:
        """Say what a client may get."""
        return self.fault.helped if self.has_fallback else self.fault.alone

    def __str__(self) -> str:
        helped = "helped" if self.has_fallback else "alone"
        return f"{self.fault.name}-{self.wire}-{self.mode}-{helped}"

    def deployed(self, closed_port: int) -> Deployed:
        """Give its faulty deployment."""
        base = f"http://127.0.0.1:{closed_port}" if self.fault.is_refused else None
        return Deployed(name=self.name, wire=self.wire, api_base=base)

    def script(self) -> Script:
        """Say what the faulty one does."""
        return self.fault.script(self.wire)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a row."""

    row: Row
    received: Received
    first: list[Seen]
    second: list[Seen]
    recorded: list[Recorded]

    @property
    def seen(self) -> list[Seen]:
        """Every request that reached an upstream."""
        return [*self.first, *self.second]

    @property
    def cost(self) -> int:
        """What the ledger says that it cost, in nano-USD."""
        return sum(event.cost for event in self.recorded)

    @property
    def reported(self) -> int:
        """What the upstreams said that they bill."""
        return sum(map(reported_cost, self.seen))

    @property
    def billed(self) -> int:
        """What the upstreams generated, and would bill."""
        return sum(max(billed_cost(seen), reported_cost(seen)) for seen in self.seen)

    @property
    def least(self) -> int:
        """What of that the gateway must know of: what it was told, and what a stream was read of before it broke."""
        return sum(max(reported_cost(seen), _read_cost(seen)) for seen in self.seen)

    @property
    def is_exact(self) -> bool:
        """Say whether every upstream that began to answer also came to its end, and to report its usage."""
        begun = [seen for seen in self.seen if seen.input_tokens or seen.output_tokens]
        ended = ("answered", "refused")
        return all(seen.outcome in ended and seen.reported == (seen.input_tokens, seen.output_tokens) for seen in begun)

    @property
    def is_within_the_cap(self) -> bool:
        """Say whether no upstream was asked too often."""
        return len(self.first) <= self.row.fault.most_attempts and len(self.seen) <= MOST_ATTEMPTS

    @property
    def is_rightly_recorded(self) -> bool:
        """Say whether there is one event at most, with the cost; of what was sent last, some may not have been read."""
        is_right = self.cost == self.reported if self.is_exact else 0.8 * self.least <= self.cost <= 1.5 * self.billed
        return is_right and len(self.recorded) <= 1

    @property
    def money(self) -> str:
        """Show all that is known of the cost."""
        return f"recorded {self.cost}, reported {self.reported}, at least {self.least}, billed {self.billed}"

    def cell(self) -> str:
        """Show it in a word: outcome, seconds, attempts on both upstreams, money."""
        share = f"{self.cost / self.billed:.0%}" if self.billed else f"+{self.cost}"
        spent = "=" if self.cost == self.billed else share
        outcome = {"answer": "✓", "error": str(self.received.status)}.get(self.received.outcome, self.received.outcome)
        outcome = "in-band" if outcome == "200" else outcome
        return f"{outcome} {self.received.seconds:.1f}s {len(self.first)}+{len(self.second)} {spent}"


def _read_cost(seen: Seen) -> int:
    return billed_cost(seen) if seen.is_stream and seen.output_tokens else 0


def rows_of(faults: Iterable[Fault]) -> list[Row]:
    """Multiply the faults out."""
    cases: list[tuple[Fault, str, Mode, bool]] = [
        (fault, wire, mode, has_fallback)
        for fault in faults
        for wire in fault.wires
        for mode in fault.modes
        for has_fallback in (False, True)
    ]
    return [Row(number, *case) for number, case in enumerate(cases)]


SECONDS = [Deployed(name=f"second-{wire}", wire=wire) for wire in WIRES]
ROWS = rows_of([*FAULTS, *recorded_faults(CASSETTES)])


def chains_of(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Give every row's fallback, by its alias."""
    return {row.name: [row.second] for row in rows if row.has_fallback}


def run_table(gateway: Gateway, rows: Sequence[Row], *, within_s: float) -> list[Result]:
    """Ask for every row, many at once, and gather what everyone saw."""
    gateway.upstream.set_scripts({row.name: row.script() for row in rows})
    received = asyncio.run(_ask_all(gateway, rows, within_s))
    seen: Mapping[str, list[Seen]] = defaultdict(list, gateway.upstream.seen())
    helped_by: dict[str, list[Seen]] = defaultdict(list)
    for second in SECONDS:
        for entry in seen[second.name]:
            helped_by[entry.prompt].append(entry)
    recorded: Mapping[str, list[Recorded]] = defaultdict(list, gateway.recorded())
    return [
        Result(row, answer, seen[row.name], helped_by[row.name], recorded[row.name])
        for row, answer in zip(rows, received, strict=True)
    ]


async def _ask_all(gateway: Gateway, rows: Sequence[Row], within_s: float) -> list[Received]:
    places = asyncio.Semaphore(_AT_ONCE)
    async with gateway.client() as client:

        async def one(row: Row) -> Received:
            async with places:
                is_stream = row.mode == "stream"
                return await ask(
                    client,
                    row.name,
                    row.name,
                    is_stream=is_stream,
                    wants_call=row.fault.wants_call,
                    within_s=within_s,
                    call_id=row.name,
                )

        return list(await asyncio.gather(*(one(row) for row in rows)))


def lines(results: Sequence[Result]) -> list[str]:
    """Write the table: a line for each fault and wire."""
    columns = [(mode, has_fallback) for mode in ("whole", "stream") for has_fallback in (False, True)]
    names = [f"{mode}{' + fallback' if has_fallback else ''}" for mode, has_fallback in columns]
    written = [f"{'fault':38} {'wire':10}" + "".join(f"{name:26}" for name in names)]
    by_line: dict[tuple[str, str], dict[tuple[str, bool], Result]] = {}
    for result in results:
        row = result.row
        by_line.setdefault((row.fault.name, row.wire), {})[row.mode, row.has_fallback] = result
    for (fault, wire), cells in by_line.items():
        shown = [cells[column].cell() if column in cells else "" for column in columns]
        written.append(f"{fault:38} {wire:10}" + "".join(f"{cell:26}" for cell in shown))
    return written
