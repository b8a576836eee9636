"""`python -m tests.bench.budget`: is a budget ever passed, how much of it is used, and what does it cost to hold it?

Instances of the completion function share a budget of $1. Many clients ask without pause, small and large, streamed
and not, and one instance is killed midway. A client stops at the first refusal that says that the budget is spent; one
that says that others hold what is left is obeyed, and asked again after its `retry-after`. What counts is the
upstream's bill.

With `--admission`: the processor time that admission adds to a request, and its round trips, in one process.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml

from functions import bootstrap
from tests.bench.admission import show_admission
from tests.e2e.stack import ROOT, Stack, running
from tests.emulators import running_emulators

PRICES = {  # nano-USD a token, in and out
    "anthropic/claude-sonnet-4-6": (3_000, 15_000),
    "openai/gpt-4o": (2_500, 10_000),
    "gemini/gemini-2.5-pro": (1_250, 10_000),
    "gemini/gemini-2.5-flash-lite": (100, 400),
}
MIX = [  # of alias and tokens: what an answer costs varies by a factor of 50
    ("gemini-flash", 2_000),
    ("gemini-flash", 400),
    ("gpt-4o", 30),
    ("gemini-flash", 4_000),
    ("gpt-4o", 200),
    ("claude-sonnet", 100),
]
_QUIET_S = 15.0  # nobody was answered for so long: what is left is held by the dead
_MOST_S = 240.0


@dataclass(kw_only=True)
class Run:
    """What a run has seen."""

    budget: float
    outcomes: Counter[str] = field(default_factory=Counter[str])
    answered_at: float = field(default_factory=time.monotonic)
    used_at_first: dict[str, float] = field(default_factory=dict[str, float])  # by the code of a refusal
    billed: float = 0.0
    spent: float = 0.0
    admitted: float = 0.0
    allowances: int = 0
    seconds: float = 0.0

    @property
    def used_at_first_refusal(self) -> float | None:
        """What part of the budget was used when somebody was first told that it is spent."""
        return self.used_at_first.get("budget_exceeded")

    @property
    def is_within(self) -> bool:
        """Say whether the budget held and was used."""
        used = self.used_at_first_refusal
        return self.billed <= self.budget and (used is None or used >= 0.97)

    @property
    def unrecorded(self) -> float:
        """What was billed and is in no ledger."""
        return self.billed - self.spent

    def show(self) -> None:
        """Print it."""
        print(f"{'answered, and every other outcome':44}{dict(self.outcomes)} in {self.seconds:.0f} s")
        print(f"{'billed by the upstream, USD':44}{self.billed:.6f} of {self.budget}")
        for code in ("budget_exceeded", "budget_reserved"):
            used = self.used_at_first.get(code)
            print(f"{f'used before the first {code}':44}{'nobody got one' if used is None else f'{used:.2%}'}")
        print(f"{'used in all':44}{self.billed / self.budget:.2%}")
        print(f"{'spent, and admitted, when all was quiet, USD':44}{self.spent:.6f} {self.admitted:.6f}")
        print(f"{'withheld for the dead, of it billed, USD':44}{self.admitted - self.spent:.6f} {self.unrecorded:.6f}")
        answered = max(1, self.outcomes["200"])
        print(f"{'allowances taken, for each answer':44}{self.allowances} {self.allowances / answered:.3f}")


def billed(bill: Mapping[str, Mapping[str, int]]) -> float:
    """What the sandbox has charged for, in USD."""
    nano = sum(
        entry["input_tokens"] * PRICES[name][0] + entry["output_tokens"] * PRICES[name][1]
        for name, entry in bill.items()
    )
    return nano / 10**9


def config_of(folder: Path, budget: float) -> Path:
    """The shipped configuration with another budget."""
    config = yaml.safe_load((ROOT / "infra" / "gateway.yaml").read_text())
    config["litellm_settings"]["max_budget"] = budget
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


async def client(number: int, stack: Stack, instances: int, run: Run, http: httpx2.AsyncClient) -> None:
    """Ask until the budget is spent, going to another instance where one doesn't answer."""
    turn, port = number, number % instances
    until = time.monotonic() + _MOST_S
    while time.monotonic() < min(until, run.answered_at + _QUIET_S):
        turn += 1
        alias, tokens = MIX[turn % len(MIX)]
        try:
            answer = await http.post(
                f"http://127.0.0.1:{stack.port + port}/v1/chat/completions",
                json=body_of(alias, tokens, is_stream=turn % 3 == 0, turn=turn),
            )
        except httpx2.TransportError as error:
            run.outcomes[type(error).__name__] += 1
            port = (port + 1) % instances
            await asyncio.sleep(0.2)
            continue
        code = "200" if answer.status_code == 200 else str(answer.json()["error"]["code"])
        run.outcomes[code] += 1
        if code == "200":
            run.answered_at = time.monotonic()
            continue
        await note_refusal(run, code, stack, http)
        if code == "budget_exceeded":
            return
        await asyncio.sleep(float(answer.headers.get("retry-after", 1)))


def body_of(alias: str, tokens: int, *, is_stream: bool, turn: int) -> dict[str, Any]:
    """A request whose answer has so many tokens, of more that it allows; some have no limit."""
    text = f"Request {turn} [sandbox: tokens={tokens}]" + " padding" * (turn % 7 * 4)
    body: dict[str, Any] = {"model": alias, "messages": [{"role": "user", "content": text}], "stream": is_stream}
    return body if turn % 11 == 0 else body | {"max_tokens": tokens + turn % 5 * tokens // 4}


async def note_refusal(run: Run, code: str, stack: Stack, http: httpx2.AsyncClient) -> None:
    """Remember how much was used at the first one of its kind."""
    if code not in run.used_at_first:
        run.used_at_first[code] = 0.0
        run.used_at_first[code] = billed((await http.get(f"{stack.sandbox_url}/bill")).json()) / run.budget


async def kill_midway(stack: Stack, run: Run, http: httpx2.AsyncClient) -> None:
    """Kill an instance once half of the budget is used."""
    while billed((await http.get(f"{stack.sandbox_url}/bill")).json()) < run.budget / 2:  # noqa: ASYNC110 (it is a bill that is watched)
        await asyncio.sleep(0.1)
    stack.kill("completion-1")
    run.outcomes["killed"] += 1


async def spend_all(stack: Stack, run: Run, *, instances: int, clients: int, kills: bool) -> None:
    """Have all clients spend the budget, and look at what there is once all is quiet."""
    started = time.monotonic()
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=60, limits=limits) as http:
        killing = asyncio.create_task(kill_midway(stack, run, http) if kills else asyncio.sleep(0))
        await asyncio.gather(*(client(number, stack, instances, run, http) for number in range(clients)))
        killing.cancel()
        run.seconds = time.monotonic() - started
        run.billed = billed((await http.get(f"{stack.sandbox_url}/bill")).json())
    await settle(stack, run)


async def settle(stack: Stack, run: Run) -> None:
    """Wait until the counter and the gate say the same for a while, and remember what."""
    environment = bootstrap.read_environment(
        gateway_backend=stack.environment["GATEWAY_BACKEND"],
        state_dir=stack.environment["STATE_DIR"],
        google_cloud_project=stack.environment.get("GOOGLE_CLOUD_PROJECT"),
        pubsub_emulator_host=stack.environment.get("PUBSUB_EMULATOR_HOST"),
        gateway_config=stack.environment["GATEWAY_CONFIG"],
    )
    budget = bootstrap.load_config(environment).budget
    counter = budget.counter(budget.window(bootstrap._now()))  # pyright: ignore[reportPrivateUsage]
    async with bootstrap.open_stores(environment) as stores:
        seen, since = (-1, -1), time.monotonic()
        while time.monotonic() - since < 4:
            now = ((await stores.counters.read(counter)).spent, await stores.gate.admitted(counter))
            if now != seen:
                seen, since = now, time.monotonic()
            await asyncio.sleep(0.2)
        run.spent, run.admitted = seen[0] / 10**9, seen[1] / 10**9
        run.allowances = len({name async for name, _ in stores.counters.all() if name.startswith(f"{counter}|")})


@contextmanager
def backend_environment(backend: str) -> Generator[dict[str, str]]:
    """What the stack's environment says of its backend; the emulators run meanwhile."""
    if backend == "embedded":
        yield {"GATEWAY_BACKEND": "embedded"}
        return
    with running_emulators() as emulators:
        hosts = {"FIRESTORE_EMULATOR_HOST": emulators.firestore, "PUBSUB_EMULATOR_HOST": emulators.pubsub}
        os.environ.update(hosts)
        yield {**hosts, "GATEWAY_BACKEND": "google", "GOOGLE_CLOUD_PROJECT": f"bench-{uuid.uuid4().hex[:12]}"}


def bench(
    environment: Mapping[str, str], folder: Path, *, budget: float, instances: int, clients: int, kills: bool
) -> Run:
    """Run a stack, and spend its budget."""
    run = Run(budget=budget)
    own = {"INSTANCES": str(instances), "GATEWAY_CONFIG": str(config_of(folder, budget))}
    with running(folder / "state", {**environment, **own}) as stack:
        run.answered_at = time.monotonic()
        asyncio.run(spend_all(stack, run, instances=instances, clients=clients, kills=kills))
    return run


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["embedded", "google"], default="embedded")
    parser.add_argument("--admission", action="store_true")
    parser.add_argument("--kills", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--budget", type=float, default=1.0)
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--clients", type=int, default=400)
    given = parser.parse_args()
    if given.admission:
        asyncio.run(show_admission())
        return 0
    with tempfile.TemporaryDirectory() as folder, backend_environment(given.backend) as environment:
        run = bench(
            environment,
            Path(folder),
            budget=given.budget,
            instances=given.instances,
            clients=given.clients,
            kills=given.kills,
        )
    run.show()
    return 0 if run.is_within else 1


if __name__ == "__main__":
    sys.exit(main())
