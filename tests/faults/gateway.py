"""The real gateway in front of the faulty upstream, with a configuration made for the deployments that a test needs."""

import json
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.e2e.stack import Stack, running, wait_for
from tests.faults.control import IN_USD_PER_TOKEN, OUT_USD_PER_TOKEN, FaultyUpstream

MODELS = {
    "openai": "openai/gpt-4o",
    "anthropic": "anthropic/claude-sonnet-4-6",
    "gemini": "gemini/gemini-2.5-flash-lite",
}
_KEYS = {f"{provider}_API_KEY": "sk-faults" for provider in ("OPENAI", "ANTHROPIC", "GEMINI")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One deployment of the configuration: `name` is its id, and its path at the upstream.

    `params` and `info` are further settings of LiteLLM's `litellm_params` and `model_info`.
    """

    name: str
    wire: str = "openai"
    group: str | None = None  # `None`: its name
    api_base: str | None = None  # `None`: the faulty upstream's
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def entry(self, upstream: FaultyUpstream) -> dict[str, Any]:
        """Give its entry of `model_list`."""
        params = {
            "model": MODELS[self.wire] + (f"--{self.name}" if self.wire == "gemini" else ""),
            "api_base": self.api_base or upstream.api_base(self.wire, self.name),
            "input_cost_per_token": float(IN_USD_PER_TOKEN),
            "output_cost_per_token": float(OUT_USD_PER_TOKEN),
            **self.params,
        }
        info = {"id": self.name, **self.info}
        return {"model_name": self.group or self.name, "litellm_params": params, "model_info": info}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the ledger holds of a request."""

    type: str
    outcome: str | None
    cost: int
    attempts: list[dict[str, Any]]
    is_estimated: bool


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway and the upstream behind it."""

    stack: Stack
    upstream: FaultyUpstream

    def client(self) -> httpx2.AsyncClient:
        """Make a client for many requests at once."""
        limits = httpx2.Limits(max_connections=300, max_keepalive_connections=50)
        return httpx2.AsyncClient(base_url=self.stack.url, limits=limits)

    def spent(self) -> int:
        """Give the money spent so far, in nano-USD."""
        return round(self.stack.get("/global/spend")["spend"] * 1_000_000_000)

    def recorded(self) -> dict[str, list[Recorded]]:
        """Give the ledger by the requests' call ids, once everything that was published is folded."""
        folder = Path(self.stack.environment["STATE_DIR"])
        wait_for(lambda: not _rows(folder / "bus.sqlite3", "SELECT 1 FROM messages WHERE topic = 'spend-events'"))
        found: dict[str, list[Recorded]] = {}
        for (raw,) in _rows(folder / "ledger.sqlite3", "SELECT event FROM events"):
            event = json.loads(raw)
            data = event["data"]
            recorded = Recorded(
                event["type"],
                data.get("outcome"),
                data.get("cost", 0),
                data["attempts"],
                data.get("usage_is_estimated", False),
            )
            found.setdefault(data["request_id"], []).append(recorded)
        return found


@contextmanager
def running_gateway(
    state_dir: Path,
    upstream: FaultyUpstream,
    deployments: Sequence[Deployed],
    *,
    chains: Mapping[str, Sequence[str]],
    router: Mapping[str, Any] | None = None,
    request_timeout_s: float = 600,
) -> Generator[Gateway]:
    """Run the gateway with these deployments, and have it import the providers' SDKs before any test counts seconds."""
    warm_ups = [Deployed(name=f"warm-up-{wire}", wire=wire, params={"timeout": 60}) for wire in MODELS]
    config = {
        "model_list": [deployed.entry(upstream) for deployed in (*deployments, *warm_ups)],
        "router_settings": {**(router or {}), "fallbacks": as_settings(chains)},
        "litellm_settings": {"max_budget": 1000, "request_timeout": request_timeout_s},
    }
    path = state_dir / "gateway.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    with running(state_dir / "state", {**_KEYS, "GATEWAY_CONFIG": str(path)}) as stack:
        for warm_up in warm_ups:
            wait_for(lambda alias=warm_up.name: stack.chat(model=alias).status_code == 200)
        yield Gateway(stack, upstream)


def as_settings(chains: Mapping[str, Sequence[str]]) -> list[dict[str, list[str]]]:
    """Give chains as the configuration writes them."""
    return [{alias: list(chain)} for alias, chain in chains.items()]


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path, timeout=10)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
