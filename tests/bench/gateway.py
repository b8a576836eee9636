"""`python -m tests.bench.gateway`: what the gateway costs on top of the bare upstream.

Cold start from exec to the first completion, processor time a request, added latency, resident memory. The completion
function runs as deployed (its production server, the embedded backend, a spend event on disk before the last byte);
the upstream is the local sandbox on OpenAI's wire. Requests straight to the upstream and through the gateway take
turns, so that a noisy machine disturbs both alike.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.bench.processes import ProcessGroup, running
from tests.e2e.stack import clean_environment
from tests.emulators import free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
BODY: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "word " * 240}],
    "max_tokens": 205,  # of four bytes in the sandbox: an answer of 820
}
CLIENTS = 16


@contextmanager
def upstream() -> Generator[str]:
    port = free_port()
    with running([sys.executable, "-m", "infra.local.sandbox", str(port)], clean_environment(), ROOT):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx2.get(f"{url}/health").is_success)
        yield url


@contextmanager
def gateway(upstream_url: str) -> Generator[tuple[str, ProcessGroup]]:
    """A completion function that has just been executed; nothing has answered yet."""
    port = free_port()
    with tempfile.TemporaryDirectory() as state_dir:
        environment = clean_environment() | {
            "GATEWAY_BACKEND": "embedded",
            "GATEWAY_CONFIG": str(generous_config(Path(state_dir))),
            "GATEWAY_SANDBOX_URL": upstream_url,
            "STATE_DIR": state_dir,
            "XDG_RUNTIME_DIR": state_dir,
        }
        command = [str(BIN / "functions-framework"), "--target", "completion", "--source", "main.py"]
        command += ["--signature-type", "http", "--host", "127.0.0.1", "--port", str(port)]
        with running(command, environment, ROOT) as processes:
            yield f"http://127.0.0.1:{port}", processes


def generous_config(folder: Path) -> Path:
    """The shipped configuration with a budget that the run can't spend."""
    config = yaml.safe_load((ROOT / "infra" / "gateway.yaml").read_text())
    config["litellm_settings"]["max_budget"] = 100_000
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def wait_until(ask: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if ask():
                return
        except httpx2.TransportError:
            time.sleep(0.005)
    raise TimeoutError("no answer within 60 s")


def wait_until_warm(processes: ProcessGroup) -> None:
    """Wait until the background imports are over, so that they disturb no figure."""
    used = -1.0
    while (now := processes.cpu_s()) != used:
        used = now
        time.sleep(0.5)


def ask(client: httpx2.Client, url: str) -> bool:
    client.post(f"{url}/v1/chat/completions", json=BODY).raise_for_status()
    return True


def cold_start(upstream_url: str) -> tuple[float, float]:
    """Seconds, and processor seconds, from exec to the first completion."""
    started = time.perf_counter()
    with gateway(upstream_url) as (url, processes), httpx2.Client(timeout=60) as client:
        wait_until(lambda: ask(client, url))
        return time.perf_counter() - started, processes.cpu_s()


def latencies_ms(upstream_url: str, gateway_url: str, rounds: int) -> tuple[list[float], list[float]]:
    """Of one client whose requests go straight to the upstream and through the gateway in turns."""
    bare: list[float] = []
    through: list[float] = []
    with httpx2.Client(timeout=60) as client:
        for _ in range(rounds):
            for url, taken in ((upstream_url, bare), (gateway_url, through)):
                started = time.perf_counter()
                ask(client, url)
                taken.append((time.perf_counter() - started) * 1000)
    return bare, through


async def load(url: str, requests: int, *, is_stream: bool) -> None:
    body = {**BODY, "stream": is_stream}
    async with httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=CLIENTS)) as client:

        async def one() -> None:
            answer = await client.post(f"{url}/v1/chat/completions", json=body)
            answer.raise_for_status()

        free = asyncio.Semaphore(CLIENTS)

        async def next_one() -> None:
            async with free:
                await one()

        await asyncio.gather(*(next_one() for _ in range(requests)))


def cpu_ms(processes: ProcessGroup, url: str, requests: int, *, is_stream: bool) -> float:
    """Processor milliseconds of the function's processes for one request."""
    before = processes.cpu_s()
    asyncio.run(load(url, requests, is_stream=is_stream))
    return (processes.cpu_s() - before) * 1000 / requests


def quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def main(*, rounds: int, repeats: int) -> None:
    with upstream() as upstream_url:
        starts = [cold_start(upstream_url) for _ in range(repeats)]
        with gateway(upstream_url) as (url, processes):
            with httpx2.Client(timeout=60) as client:
                wait_until(lambda: ask(client, url))
            wait_until_warm(processes)
            asyncio.run(load(url, 200, is_stream=False))
            at_rest = processes.pss_mb()
            bare, through = latencies_ms(upstream_url, url, rounds)
            plain = [cpu_ms(processes, url, rounds, is_stream=False) for _ in range(repeats)]
            streams = [cpu_ms(processes, url, rounds // 3, is_stream=True) for _ in range(repeats)]
            after = processes.pss_mb()
    added = [bare_and_through[1] - bare_and_through[0] for bare_and_through in zip(bare, through, strict=True)]
    show("exec to first completion, s", [wall for wall, _ in starts])
    show("  its processor time, s", [cpu for _, cpu in starts])
    show(f"processor time a request, {CLIENTS} clients, ms", plain)
    show(f"processor time a stream, {CLIENTS} clients, ms", streams)
    print(f"{'latency of the bare upstream, p50 and p99, ms':52}{quantile(bare, 50):8.2f}{quantile(bare, 99):8.2f}")
    print(
        f"{'latency through the gateway, p50 and p99, ms':52}{quantile(through, 50):8.2f}{quantile(through, 99):8.2f}"
    )
    print(
        f"{'added by the gateway, p50 and p99 of the pairs, ms':52}{quantile(added, 50):8.2f}{quantile(added, 99):8.2f}"
    )
    print(f"{'memory (PSS) warmed up and after the run, MB':52}{at_rest:8.1f}{after:8.1f}")


def show(what: str, values: list[float]) -> None:
    print(f"{what:52}{statistics.median(values):8.2f}  ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    main(rounds=given.rounds, repeats=given.repeats)
