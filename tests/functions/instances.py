"""Whole instances over HTTP, on one store, with the sandbox behind them."""

import hashlib
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from openai import AsyncOpenAI

from events.keys import KeyEvent
from functions.adapters.embedded.stores import open_embedded
from functions.adapters.stores import Stores
from functions.bootstrap import load_catalog
from functions.gateway.account_administration import AccountAdministration
from functions.gateway.config import Credentials, parse_config
from functions.gateway.health import Fleet
from functions.gateway.key_administration import KeyAdministration
from functions.gateway.keys import Keyring
from functions.gateway.pipeline import Completions
from functions.gateway.spending import Spending
from functions.providers.openai import openai_embedder, openai_upstream
from functions.surface.accounts import AccountSurface, account_routes
from functions.surface.edge import at_edge
from functions.surface.keys import KeySurface, key_routes
from functions.surface.router import Surface, build_router
from functions.surface.spend import SpendSurface, spend_routes
from infra.local.sandbox.__main__ import Sandbox, build_app
from tests.builders import NOON
from tests.functions.stand_ins import HeldBus, OpenAdmission

MASTER = "sk-master-of-all-keys"
MODELS = ["gpt-4o", "gpt-4o-mini"]
FILE = {
    "model_list": [
        *({"model_name": name, "litellm_params": {"model": f"openai/{name}"}} for name in MODELS),
        {"model_name": "small", "litellm_params": {"model": "openai/text-embedding-3-small"}},
    ],
    "router_settings": {"fallbacks": [{"gpt-4o": ["gpt-4o-mini"]}]},
}
MESSAGES: Any = [{"role": "user", "content": "Say hello"}]


class Gateway:
    """A client of one instance. `time` is that of the wall and of the clock."""

    def __init__(self, http: httpx2.AsyncClient, bus: HeldBus, stores: Stores, admission: OpenAdmission) -> None:
        self.http, self.bus, self.stores, self.admission = http, bus, stores, admission

    async def post(self, path: str, *, by: str = MASTER, **body: Any) -> httpx2.Response:
        return await self.http.post(path, json=body, headers={"authorization": f"Bearer {by}"})

    async def get(self, path: str, *, by: str = MASTER, **query: Any) -> httpx2.Response:
        return await self.http.get(path, params=query, headers={"authorization": f"Bearer {by}"})

    async def chat(self, by: str, *, model: str = "gpt-4o", **fields: Any) -> httpx2.Response:
        return await self.post("/v1/chat/completions", by=by, model=model, messages=MESSAGES, **fields)

    async def info(self, key: str) -> dict[str, Any]:
        """Give what is known of a key, apart from what it has spent."""
        answer = await self.get("/key/info", key=key)
        assert answer.status_code == 200, answer.text
        spent = ("spend", "total_spend", "budget_reset_at")
        return {name: value for name, value in answer.json()["info"].items() if name not in spent}

    async def make(self, **fields: Any) -> str:
        answer = await self.post("/key/generate", **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["key"]

    def openai(self, key: str) -> AsyncOpenAI:
        return AsyncOpenAI(api_key=key, base_url="http://gateway/v1", http_client=self.http, max_retries=0)

    async def key_events(self) -> list[KeyEvent]:
        return [event async for event in self.stores.ledger.replay() if isinstance(event, KeyEvent)]


class Clock:
    """The time of all instances."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed_s)

    def seconds(self) -> float:
        return self.passed_s


async def open_instance(
    stack: AsyncExitStack, state_dir: Path, clock: Clock, master_key: str | None, **settings: Any
) -> Gateway:
    """Open one instance on the store in `state_dir`, until the stack is closed."""
    bus, admission = HeldBus(), OpenAdmission()
    stores = await stack.enter_async_context(open_embedded(state_dir))
    credentials = {"openai": Credentials(api_key="sk", api_base="http://sandbox/v1")}
    data = (
        FILE | ({"general_settings": {"master_key": master_key}} if master_key else {}) | {"litellm_settings": settings}
    )
    config = parse_config(data, catalog=load_catalog(), environment={}, credentials=credentials)
    providers = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=build_app(Sandbox())))
    await stack.enter_async_context(providers)
    completions = Completions(
        config=config,
        upstreams={"openai": openai_upstream(providers)},
        embedders={"openai": openai_embedder(providers)},
        fleet=Fleet(),
        random=lambda: 0.0,
        admission=admission,
        bus=bus,
        now=clock.now,
        clock=clock.seconds,
    )
    made = iter(range(1000))
    spending = Spending(stores.activity, stores.counters, config.defaults, now=clock.now)
    keyring = Keyring(
        stores.keys,
        stores.accounts,
        config.master_key,
        now=clock.now,
        clock=clock.seconds,
        read_spend=spending.total_of_key,
    )
    administration = KeyAdministration(
        stores.keys, keyring, now=clock.now, new_key=lambda: f"sk-made-here-{id(stores)}-{next(made):04}"
    )
    ids = iter(range(1000))
    account_administration = AccountAdministration(
        stores.accounts, administration, keyring, now=clock.now, new_id=lambda: f"made-here-{next(ids):04}"
    )
    surface = Surface(config, stores.counters, keyring, now=clock.now, is_sandbox=True)
    router = build_router(
        surface,
        completions,
        config,
        keyring,
        *key_routes(KeySurface(administration, keyring, config, spending)),
        *account_routes(AccountSurface(account_administration, keyring, config, spending)),
        *spend_routes(
            SpendSurface(stores.activity, stores.keys, stores.accounts, spending, keyring, config, now=clock.now)
        ),
    )
    app = httpx2.ASGITransport(app=at_edge(router))
    http = await stack.enter_async_context(httpx2.AsyncClient(transport=app, base_url="http://gateway"))
    return Gateway(http, bus, stores, admission)


def error_of(answer: httpx2.Response) -> tuple[int, str, str, str | None]:
    error = answer.json()["error"]
    assert error["message"]
    return answer.status_code, error["type"], error["code"], error["param"]


def files_in(folder: Path) -> bytes:
    """All that is on disk."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
