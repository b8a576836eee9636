"""`python -m tests.bench.spend`: lists and reports over a ledger of 10,000 keys and 1,000,000 requests.

The ledger is made by the embedded backend's own code in large commits, which takes some minutes: in a temporary folder,
or in `--state-dir`, which is kept, and where a ledger that is there already is asked as it is.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx2

from events.keys import Key
from events.money import NanoUsd
from events.spend import Attempt, CompletionFailed, Scopes, SpendRecorded, Usage
from functions.adapters.embedded.stores import open_embedded
from functions.adapters.stores import Stores
from functions.bootstrap import load_catalog
from functions.gateway.config import Config, parse_config
from functions.gateway.key_administration import KeyAdministration
from functions.gateway.keys import Keyring
from functions.gateway.pipeline import Completions
from functions.gateway.spending import Spending
from functions.surface.edge import at_edge
from functions.surface.keys import KeySurface, key_routes
from functions.surface.router import Surface, build_router
from functions.surface.spend import SpendSurface, spend_routes
from tests.builders import key, key_created

MASTER = "sk-master-of-the-bench"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MODELS = [("gpt-4o", "openai", "gpt-4o"), ("gpt-4o-mini", "openai", "gpt-4o-mini"),
          ("claude-sonnet", "anthropic", "claude-sonnet-4-6"), ("gemini-pro", "gemini", "gemini-2.5-pro")]  # fmt: skip
ROUNDS = 5
_COMMIT = 20_000
_KEYS_A_COMMIT = 1000
_DAYS = 30


async def measure(state_dir: Path, keys: int, requests: int) -> None:
    """Make the ledger where it is missing, ask everything, and print the medians."""
    is_made = (state_dir / "ledger.sqlite3").exists()
    made = _keys(keys)
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_embedded(state_dir))
        if not is_made:
            started = time.perf_counter()
            await _make_keys(stores, made)
            await _record(stores, made, requests)
            _say(f"{keys:,} keys and {requests:,} requests made in {time.perf_counter() - started:.0f} s")
        http = await stack.enter_async_context(_client(stores))
        for path, query in _questions(made, requests):
            await _ask(http, path, query)


def _keys(count: int) -> list[Key]:
    return [
        key(
            f"k{number}",
            key_alias=f"alias-{number}",
            user_id=f"user-{number % (count // 10)}",
            team_id=f"team-{number % 50}",
            max_budget=NanoUsd(10**10),
            budget_duration="1d",
            created_at=NOW - timedelta(days=_DAYS, seconds=-number),
        )
        for number in range(count)
    ]


async def _make_keys(stores: Stores, keys: list[Key]) -> None:
    for start in range(0, len(keys), _KEYS_A_COMMIT):
        await stores.keys.commit([key_created(one) for one in keys[start : start + _KEYS_A_COMMIT]])


async def _record(stores: Stores, keys: list[Key], count: int) -> None:
    chance = random.Random(1)
    for start in range(0, count, _COMMIT):
        portion = range(start, min(start + _COMMIT, count))
        await stores.ledger.commit([_request(number, count, keys, chance) for number in portion], {})


def _request(number: int, count: int, keys: list[Key], chance: random.Random) -> SpendRecorded | CompletionFailed:
    """Make the request of that number; they come one after the other over the days."""
    whose = keys[int(len(keys) * chance.random() ** 3)]  # a few ask most
    alias, provider, model = chance.choice(MODELS)
    time = NOW - timedelta(days=_DAYS) * (1 - number / count)
    scopes = Scopes(key_hash=whose.key_id, user=whose.user_id, team=whose.team_id, tags=("nightly",))
    is_failure = chance.random() < 0.01
    attempt = Attempt(model=f"{provider}/{model}", status="500" if is_failure else "200", ms=800, billed=not is_failure)
    common: dict[str, Any] = {"event_id": f"{number:032x}", "time": time, "request_id": f"call-{number}",
                              "alias": alias, "scopes": scopes, "attempts": (attempt,), "latency_ms": 800}  # fmt: skip
    if is_failure:
        return CompletionFailed(**common)
    return SpendRecorded(
        **common, response_id=f"chatcmpl-{number}", upstream_model=model, response_model=model, provider=provider,
        usage=Usage(input_tokens=1000, output_tokens=200), usage_is_estimated=False, cost=NanoUsd(4_500_000),
        catalog_version="2026-11-23", outcome="completed", time_to_first_token_ms=300,
    )  # fmt: skip


def _questions(keys: list[Key], requests: int) -> Iterator[tuple[str, dict[str, str | int]]]:
    busiest, user, team = keys[0].key_id, cast("str", keys[0].user_id), cast("str", keys[0].team_id)
    for page in (1, len(keys) // 200, len(keys) // 100):
        yield "/key/list", {"page": page, "size": 100, "return_full_object": "true"}
    yield "/key/list", {"user_id": user, "return_full_object": "true"}
    yield "/key/info", {"key": busiest}
    for page in (1, requests // 100, requests // 50):
        yield "/spend/logs", {"page": page}
    yield "/spend/logs", {"page_size": 1000}
    filters: list[dict[str, str | int]] = [
        {"api_key": busiest}, {"user_id": user}, {"team_id": team}, {"model": "openai/gpt-4o"},
        {"model_group": "gpt-4o"}, {"custom_llm_provider": "openai"}, {"status": "success"}, {"status": "failure"},
        {"request_id": f"chatcmpl-{requests // 2}"}, {"team_id": team, "status": "failure"},
        {"start_date": "2026-11-10", "end_date": "2026-11-12", "summarize": "false"},
    ]  # fmt: skip
    for chosen in filters:
        yield "/spend/logs", chosen
    yield "/spend/logs", {"custom_llm_provider": "openai", "page": requests // 200}
    yield "/spend/logs", {"team_id": team, "model": "openai/gpt-4o"}
    yield "/spend/logs", {"start_date": "2026-11-10", "end_date": "2026-11-10"}
    yield "/spend/logs", {"start_date": "2026-10-25", "end_date": "2026-11-24", "api_key": busiest}
    yield "/spend/keys", {}
    yield "/spend/users", {}
    yield "/spend/tags", {}
    yield "/global/spend/models", {}
    yield "/global/spend/teams", {}
    yield "/global/activity", {}
    yield "/global/spend/report", {"start_date": "2026-11-24", "end_date": "2026-11-24"}


async def _ask(http: httpx2.AsyncClient, path: str, query: dict[str, str | int]) -> None:
    """Ask some times and print the median; what the first finds cold is not counted."""
    taken: list[float] = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        answer = await http.get(path, params=query, headers={"authorization": f"Bearer {MASTER}"})
        taken.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, answer.text
    shown = "&".join(f"{name}={str(value)[:16]}" for name, value in query.items())
    least, median, most = min(taken[1:]), statistics.median(taken[1:]), max(taken[1:])
    _say(f"{median:8.1f} ms ({least:.1f} to {most:.1f})  {path}{'?' if shown else ''}{shown}")


def _client(stores: Stores) -> httpx2.AsyncClient:
    data = {
        "model_list": [
            {"model_name": alias, "litellm_params": {"model": f"{provider}/{model}", "api_key": "sk"}}
            for alias, provider, model in MODELS
        ],
        "general_settings": {"master_key": MASTER},
    }
    config = parse_config(data, catalog=load_catalog(), environment={}, credentials={})
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=_app(stores, config)), base_url="http://gateway")


def _app(stores: Stores, config: Config) -> Any:
    keyring = Keyring(stores.keys, stores.accounts, MASTER, now=_now, clock=time.monotonic)
    spending = Spending(stores.activity, stores.counters, now=_now)
    administration = KeyAdministration(stores.keys, keyring, now=_now, new_key=lambda: "sk-none")
    keys = key_routes(KeySurface(administration, keyring, config, spending))
    surface = Surface(config, stores.counters, keyring, now=_now, is_sandbox=True)
    reports = spend_routes(
        SpendSurface(stores.activity, stores.keys, stores.accounts, spending, keyring, config, now=_now)
    )
    return at_edge(build_router(surface, cast("Completions", None), config, keyring, *keys, *reports))


def _now() -> datetime:
    return NOW


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.spend")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--state-dir", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(given.state_dir or Path(folder), given.keys, given.requests))
