"""The composition root: the only place that reads the environment and chooses implementations."""

import asyncio
import json
import logging
import os
import random
import secrets
import signal
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Generic, Literal, TypeVar

import uvicorn
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.types import ASGIApp

from functions.adapters.config_file import read_config_file
from functions.adapters.stores import Stores
from functions.gateway.account_administration import AccountAdministration
from functions.gateway.admission import WholeAdmission, open_admission
from functions.gateway.allowances import AllowanceAdmission, Terms
from functions.gateway.announcing import Announcer
from functions.gateway.catalog import Catalog, parse_catalog
from functions.gateway.config import Config, ConfigError, Credentials, parse_config
from functions.gateway.errors import StoreUnavailable
from functions.gateway.exceeding import ExceededAlerts
from functions.gateway.folding import Folder, open_folder
from functions.gateway.health import Fleet
from functions.gateway.hints import Hints
from functions.gateway.key_administration import KeyAdministration
from functions.gateway.keys import PREFIX, Keyring
from functions.gateway.pipeline import Completions
from functions.gateway.ports import AlertWebhook, Bus, DeliveredAlerts, Embedder, Upstream
from functions.gateway.rates import RateAdmission
from functions.gateway.remembered_holders import RememberedHolders
from functions.gateway.settings import HTTP_URL, WORD, HttpUrl, Word, refusal
from functions.gateway.spending import Spending
from functions.surface.accounts import AccountSurface, account_routes
from functions.surface.keys import KeySurface, key_routes
from functions.surface.router import Surface, build_gateway, build_router
from functions.surface.spend import SpendSurface, spend_routes

_ROOT = Path(__file__).parent.parent
_SHORTEST_MASTER_KEY = 16  # characters
_FOLD_INTERVAL_S = {"embedded": 0.02, "google": 0.25}  # Firestore advises about one write a second to a document
_OPEN_WITHIN_S = 20
_RECORDED_WITHIN_S = 30  # after an answer's end
_KEY_BYTES = 16  # 22 characters, as LiteLLM's
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Environment(BaseSettings):
    """Every variable that the functions read, besides those that the configuration file names."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True)

    anthropic_api_key: Word | None = Field(default=None, repr=False, description=WORD)
    openai_api_key: Word | None = Field(default=None, repr=False, description=WORD)
    gemini_api_key: Word | None = Field(default=None, repr=False, description=WORD)
    anthropic_base_url: HttpUrl | None = Field(default=None, repr=False, description=HTTP_URL)
    openai_base_url: HttpUrl | None = Field(default=None, repr=False, description=HTTP_URL)
    google_gemini_base_url: HttpUrl | None = Field(default=None, repr=False, description=HTTP_URL)
    litellm_master_key: Word | None = Field(default=None, repr=False, description=WORD)
    alert_webhook_url: HttpUrl | None = Field(default=None, repr=False, description=HTTP_URL)
    gateway_backend: Literal["embedded", "google"] = Field(default="google", description="embedded or google")
    gateway_config: Path = Field(default=_ROOT / "infra" / "gateway.yaml", description="the path of a file")
    gateway_sandbox_url: HttpUrl | None = Field(default=None, repr=False, description=HTTP_URL)
    state_dir: Path = Field(default=Path(".local"), description="the path of a folder")
    google_cloud_project: Word | None = Field(default=None, description=WORD)
    pubsub_emulator_host: Word | None = Field(default=None, description="host:port")


@dataclass(frozen=True, slots=True)
class CompletionInstance:
    """What the completion function needs."""

    router: ASGIApp


@dataclass(frozen=True, slots=True)
class Providers:
    """Who answers, by the provider's name in the configuration."""

    upstreams: Mapping[str, Upstream]
    embedders: Mapping[str, Embedder]


@dataclass(frozen=True, slots=True)
class FoldInstance:
    """What the fold function needs."""

    folder: Folder
    bus: Bus


@dataclass(frozen=True, slots=True)
class AlertInstance:
    """What the alert function needs."""

    webhook: AlertWebhook
    delivered: DeliveredAlerts
    bus: Bus


@asynccontextmanager
async def open_completion(environment: Environment) -> AsyncGenerator[CompletionInstance]:
    """Open the upstreams and the stores for as long as the instance lives."""
    config = load_config(environment)
    _say_what_is_open(config)
    async with (
        open_stores(environment) as stores,
        open_providers() as providers,
        _open_admission(config, stores) as admission,
        asyncio.TaskGroup() as tasks,
    ):
        deployments = [deployment for group in config.deployments.values() for deployment in group]
        hints = Hints(deployments, stores.cooldowns, now=_now, clock=_clock())
        fleet = Fleet(is_cooldown_disabled=config.is_sandbox, on_rest=hints.report)  # a sandbox fails as it is asked to
        completions = Completions(
            config=config,
            upstreams=providers.upstreams,
            embedders=providers.embedders,
            fleet=fleet,
            admission=admission,
            bus=stores.bus,
            now=_now,
            clock=_clock(),
            random=random.random,
            notice_request=hints.notice_request,
        )
        spending = Spending(stores.activity, stores.counters, config.defaults, now=_now)
        keyring = Keyring(
            stores.keys,
            stores.accounts,
            config.master_key,
            now=_now,
            clock=_clock(),
            read_spend=spending.total_of_key,
        )
        administration = KeyAdministration(stores.keys, keyring, now=_now, new_key=_new_key)
        accounts = AccountAdministration(
            stores.accounts, administration, keyring, now=_now, new_id=lambda: str(uuid.uuid4())
        )
        surface = Surface(config, stores.counters, keyring, now=_now, is_sandbox=config.is_sandbox)
        beside_requests = [
            tasks.create_task(_warm_up(config, providers.upstreams)),
            tasks.create_task(hints.exchange(fleet)),
        ]
        router = build_router(
            surface,
            completions,
            config,
            keyring,
            *key_routes(KeySurface(administration, keyring, config, spending)),
            *account_routes(AccountSurface(accounts, keyring, config, spending)),
            *spend_routes(
                SpendSurface(stores.activity, stores.keys, stores.accounts, spending, keyring, config, now=_now)
            ),
        )
        yield CompletionInstance(router=router)
        for task in beside_requests:
            task.cancel()


def _open_admission(config: Config, stores: Stores) -> AbstractAsyncContextManager[WholeAdmission]:
    def make(tasks: asyncio.TaskGroup) -> WholeAdmission:
        exceeded = ExceededAlerts(stores.counters, stores.bus, tasks, now=_now)
        rates, budgets = _rate_admission(config, stores, tasks), _budget_admission(config, stores, tasks)
        return WholeAdmission(rates, budgets, exceeded.notice)

    return open_admission(make)


def _rate_admission(config: Config, stores: Stores, tasks: asyncio.TaskGroup) -> RateAdmission:
    return RateAdmission(
        stores.gate,
        tasks,
        now=_now,
        clock=_clock(),
        new_id=_new_id,
        longest_request_s=config.request_timeout_s + _RECORDED_WITHIN_S + Terms().patience_s,
        random=random.random,
    )


def _budget_admission(config: Config, stores: Stores, tasks: asyncio.TaskGroup) -> AllowanceAdmission:
    return AllowanceAdmission(
        config.budget,
        stores.gate,
        stores.counters,
        tasks,
        now=_now,
        clock=_clock(),
        new_id=_new_id,
        exceeded_status=config.budget_exceeded_status,
        attempts_at_once=1 if config.routing.hedge_percentile is None else 2,
        terms=Terms(
            longest_request_s=config.request_timeout_s + _RECORDED_WITHIN_S,
            lowers_max_tokens=config.budget_lowers_max_tokens,
        ),
    )


@asynccontextmanager
async def open_fold(environment: Environment) -> AsyncGenerator[FoldInstance]:
    """Open the stores and run the folder for as long as the instance lives."""
    config = load_config(environment)
    async with open_stores(environment) as stores:
        folder = Folder(
            budgets=[config.budget],
            ledger=stores.ledger,
            counters=stores.counters,
            gate=stores.gate,
            announcer=_announcer(config, stores),
            now=_now,
            interval_s=_FOLD_INTERVAL_S[environment.gateway_backend],
        )
        async with open_folder(folder):
            yield FoldInstance(folder=folder, bus=stores.bus)


def _announcer(config: Config, stores: Stores) -> Announcer:
    return Announcer(
        budgets=[config.budget],
        defaults=config.defaults,
        keys=stores.keys,
        holders=RememberedHolders(stores.keys, stores.accounts, clock=_clock()),
        counters=stores.counters,
        bus=stores.bus,
    )


@asynccontextmanager
async def open_alert(environment: Environment) -> AsyncGenerator[AlertInstance]:
    """Open the webhook's client and the stores for as long as the instance lives."""
    from functions.adapters.webhook import open_webhook

    async with open_stores(environment) as stores, open_webhook(environment.alert_webhook_url) as webhook:
        yield AlertInstance(webhook=webhook, delivered=stores.delivered_alerts, bus=stores.bus)


def open_stores(environment: Environment, *, must_exist: bool = False) -> AbstractAsyncContextManager[Stores]:
    """Open the backend that the environment names; with `must_exist`, not one that would have to be made first."""
    if environment.gateway_backend == "embedded":
        from functions.adapters.embedded.stores import open_embedded

        return open_embedded(environment.state_dir, must_exist=must_exist)
    from functions.adapters.gcp.stores import open_gcp

    if environment.google_cloud_project is None:
        raise ConfigError("GOOGLE_CLOUD_PROJECT is not set; set it, or GATEWAY_BACKEND=embedded on one machine")
    return open_gcp(environment.google_cloud_project, pubsub_emulator_host=environment.pubsub_emulator_host)


@asynccontextmanager
async def open_providers() -> AsyncGenerator[Providers]:
    """Make every provider's upstream and embedder; SDKs are imported when first needed, or by `warm_up`."""
    from functions.providers.anthropic import anthropic_upstream
    from functions.providers.google import google_embedder, google_upstream
    from functions.providers.openai import openai_embedder, openai_upstream
    from functions.providers.upstream import http_client

    async with http_client() as http:
        yield Providers(
            upstreams={
                "openai": openai_upstream(http),
                "anthropic": anthropic_upstream(http),
                "gemini": google_upstream(http),
            },
            embedders={"openai": openai_embedder(http), "gemini": google_embedder(http)},
        )


def read_environment(**given: object) -> Environment:
    """Read the variables; what is `given`, by a field's name, wins. Raises `ConfigError`, by the variables' names."""
    try:
        return Environment.model_validate(given)
    except ValidationError as error:
        faults = [(str(fault["loc"][0]), fault["input"]) for fault in error.errors(include_url=False)]
        told = [f"{name.upper()}: {refusal(value, Environment.model_fields[name])}" for name, value in faults]
        raise ConfigError("; ".join(told)) from None


def load_config(environment: Environment) -> Config:
    """Read the configuration file and the catalog. Raises `ConfigError`, naming the file."""
    path = environment.gateway_config
    try:
        config = parse_config(
            read_config_file(path),
            catalog=load_catalog(),
            environment=os.environ,
            credentials=_credentials(environment),
            sandbox=_sandbox(environment.gateway_sandbox_url),
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return replace(config, master_key=config.master_key or environment.litellm_master_key)


def load_catalog() -> Catalog:
    """Read the prices that the project ships."""
    return parse_catalog(json.loads((_ROOT / "functions" / "gateway" / "catalog.json").read_text()))


class Instance(Generic[T]):
    """One thing that a worker process opens on first use and closes after its last request.

    The framework has no lifespan to hook, and imports `main` in the parent of the worker; so a task of the
    worker's own loop owns what is opened. A failed opening is tried again by the next request.
    """

    def __init__(
        self, open_it: Callable[[Environment], AbstractAsyncContextManager[T]], *, within_s: float = _OPEN_WITHIN_S
    ) -> None:
        self._open_it = open_it
        self._within_s = within_s
        self._opened: asyncio.Future[T] | None = None
        self._owner: asyncio.Task[None] | None = None

    async def get(self) -> T:
        """Give it, opening it if need be. An opening that takes longer than `within_s` goes on for a later request."""
        if self._opened is None:
            self._opened = asyncio.get_running_loop().create_future()
            self._owner = asyncio.create_task(self._own(self._opened))
        try:
            async with asyncio.timeout(self._within_s):
                return await asyncio.shield(self._opened)
        except TimeoutError as error:
            raise StoreUnavailable(f"This instance was not open within {self._within_s} s. Try again.") from error

    async def _own(self, opened: asyncio.Future[T]) -> None:
        try:
            async with self._open_it(read_environment()) as it:
                _let_the_server_return()
                opened.set_result(it)
                await asyncio.Event().wait()  # until the loop's end cancels it, after the last request
        except Exception as error:
            if opened.done():
                raise
            self._opened = None
            _log.critical("this instance can't start: %s", error)
            opened.set_exception(error)


completion_instance = Instance(open_completion)
fold_instance = Instance(open_fold)
alert_instance = Instance(open_alert)


async def _open_router() -> ASGIApp:
    return (await completion_instance.get()).router


gateway = build_gateway(_open_router)


def _let_the_server_return() -> None:
    """Have SIGTERM drain uvicorn and let it return, so that the loop's end closes what is open.

    On its own it raises the signal again after draining, which ends the process on the spot.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(server, uvicorn.Server):

        def stop(_signum: int, _frame: FrameType | None) -> None:
            server.should_exit = True

        signal.signal(signal.SIGTERM, stop)


async def _warm_up(config: Config, upstreams: Mapping[str, Upstream]) -> None:
    """Import the SDKs in the background, the first chain's first provider first."""
    providers = [deployment.provider for group in config.deployments.values() for deployment in group]
    for provider in dict.fromkeys(providers):
        try:
            await upstreams[provider].warm_up()
        except Exception:  # noqa: BLE001 (a worker loop: the request that needs it will say)
            _log.exception("the SDK of %s could not be warmed up", provider)


def _say_what_is_open(config: Config) -> None:
    if config.master_key is None:
        _log.warning("LITELLM_MASTER_KEY is not set: the gateway is open to everyone who can reach it")
    elif len(config.master_key) < _SHORTEST_MASTER_KEY:
        _log.warning("the master key is short enough to be guessed: take a longer one")
    if config.is_sandbox:
        _log.warning("the sandbox upstream answers: no provider is asked, every answer is made up")


def _credentials(environment: Environment) -> dict[str, Credentials]:
    return {
        "openai": Credentials(api_key=environment.openai_api_key, api_base=environment.openai_base_url),
        "anthropic": Credentials(api_key=environment.anthropic_api_key, api_base=environment.anthropic_base_url),
        "gemini": Credentials(api_key=environment.gemini_api_key, api_base=environment.google_gemini_base_url),
    }


def _sandbox(url: str | None) -> dict[str, Credentials] | None:
    if url is None:
        return None
    return {
        "openai": Credentials(api_key="sandbox", api_base=f"{url}/v1"),
        "anthropic": Credentials(api_key="sandbox", api_base=url),
        "gemini": Credentials(api_key="sandbox", api_base=url),
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return uuid.uuid4().hex


def _new_key() -> str:
    return PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def _clock() -> Callable[[], float]:
    return asyncio.get_running_loop().time
