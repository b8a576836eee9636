"""The configuration file, checked: LiteLLM's terms, of which the known ones are accepted and the others named."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NoReturn, cast
from urllib.parse import urlsplit

from annotated_types import MinLen
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from events.budget import Budget
from events.money import nano_usd
from events.window import window_at
from functions.gateway.catalog import Catalog, Mode, Model, Prices
from functions.gateway.ports import Deployment

PROVIDERS = ("openai", "anthropic", "gemini")
GLOBAL_BUDGET = "global"
_PER_1M = 1_000_000
_NO_KEY = "none"  # the SDK wants one, servers without keys pass over it

Seconds = Annotated[float, Field(gt=0, le=3600)]
Percent = Annotated[int, Field(ge=1, le=1000)]
UsdPerToken = Annotated[Decimal, Field(ge=0)]


class ConfigError(ValueError):
    """The configuration can't be served. The message names the path in it and what is accepted."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class LitellmParams(_Section):
    """How one deployment is reached. Costs are USD per token and win over the catalog's prices."""

    model: str
    api_key: str | None = Field(default=None, repr=False)
    api_base: str | None = None
    timeout: Seconds | None = None
    stream_timeout: Seconds | None = None
    idle_timeout: Seconds | None = None
    input_cost_per_token: UsdPerToken | None = None
    output_cost_per_token: UsdPerToken | None = None
    cache_read_input_token_cost: UsdPerToken | None = None


class ModelInfo(_Section):
    """`id` names the deployment in the `x-litellm-model-id` header; without it, `group-n` does.

    `mode` says what a model is for that the catalog doesn't know.
    """

    id: str | None = None
    mode: Mode | None = None


class ModelEntry(_Section):
    """One deployment. Several with the same `model_name` are tried in the order they are listed in."""

    model_name: Annotated[str, Field(min_length=1)]
    litellm_params: LitellmParams
    model_info: ModelInfo = ModelInfo()


class RouterSettings(_Section):
    """Who takes over from whom, and how long an attempt may take, in seconds."""

    fallbacks: tuple[dict[str, tuple[str, ...]], ...] = ()
    timeout: Seconds = 300
    stream_timeout: Seconds = 60
    idle_timeout: Seconds = 60


class LitellmSettings(_Section):
    """The global budget in USD (none without `max_budget`), and what holds for every request.

    `drop_params` says what happens to parameters an upstream can't take, `request_timeout` how many seconds a request
    may take over all its attempts.
    """

    max_budget: Annotated[Decimal, Field(ge=0)] | None = None
    budget_duration: str = "1d"
    budget_exceeded_status_code: Literal[400, 402, 403, 422, 429] = 429
    drop_params: bool = True
    request_timeout: Seconds = 600

    @field_validator("budget_duration")
    @classmethod
    def _is_a_duration(cls, value: str) -> str:
        window_at(value, datetime(2026, 1, 1, tzinfo=UTC))
        return value


class GeneralSettings(_Section):
    """Access, limits and alerts."""

    master_key: Annotated[str, MinLen(8)] | None = Field(default=None, repr=False)
    max_request_size_mb: Annotated[float, Field(gt=0, le=512)] = 20
    budget_alert_thresholds: tuple[Percent, ...] = (50, 80, 95, 100)


class GatewayFile(_Section):
    """The whole file."""

    model_list: Annotated[tuple[ModelEntry, ...], Field(min_length=1)]
    router_settings: RouterSettings = RouterSettings()
    litellm_settings: LitellmSettings = LitellmSettings()
    general_settings: GeneralSettings = GeneralSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How a provider is reached where the file doesn't say."""

    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the file means, with the catalog and the environment."""

    catalog_version: str
    deployments: Mapping[str, tuple[Deployment, ...]]  # by group, in the file's order
    fallbacks: Mapping[str, tuple[str, ...]]
    drop_params: bool
    budget: Budget | None
    budget_exceeded_status: int
    master_key: str | None = field(repr=False)
    max_request_bytes: int
    request_timeout_s: float = 600


def parse_config(
    data: object, *, catalog: Catalog, environment: Mapping[str, str], credentials: Mapping[str, Credentials]
) -> Config:
    """Check the file's content and resolve it. Raises `ConfigError` with every fault, by its path."""
    try:
        file = GatewayFile.model_validate(_substitute(data, environment))
    except ValidationError as error:
        _refuse([f"{_path(fault['loc'])}: {_explain(fault)}" for fault in _innermost(error.errors(include_url=False))])
    deployments = _deployments(file, catalog, credentials)
    return Config(
        catalog_version=catalog.version,
        deployments=deployments,
        fallbacks=_fallbacks(file, deployments),
        drop_params=file.litellm_settings.drop_params,
        budget=_budget(file),
        budget_exceeded_status=file.litellm_settings.budget_exceeded_status_code,
        master_key=file.general_settings.master_key,
        max_request_bytes=int(file.general_settings.max_request_size_mb * 1024 * 1024),
        request_timeout_s=file.litellm_settings.request_timeout,
    )


def _substitute(value: Any, environment: Mapping[str, str]) -> Any:
    """Replace `os.environ/NAME` by the variable, or by nothing where it is unset or empty."""
    match value:
        case dict():
            return {key: _substitute(item, environment) for key, item in cast("dict[Any, Any]", value).items()}
        case list():
            return [_substitute(item, environment) for item in cast("list[Any]", value)]
        case str() if value.startswith("os.environ/"):
            return environment.get(value.removeprefix("os.environ/")) or None
        case _:
            return value


def _deployments(
    file: GatewayFile, catalog: Catalog, credentials: Mapping[str, Credentials]
) -> dict[str, tuple[Deployment, ...]]:
    groups: dict[str, tuple[Deployment, ...]] = {}
    for index, entry in enumerate(file.model_list):
        group = groups.get(entry.model_name, ())
        path = f"model_list[{index}].litellm_params"
        deployment = _deployment(entry, len(group), file.router_settings, catalog, credentials, path)
        groups[entry.model_name] = (*group, deployment)
    return groups


def _deployment(
    entry: ModelEntry,
    position: int,
    router: RouterSettings,
    catalog: Catalog,
    credentials: Mapping[str, Credentials],
    path: str,
) -> Deployment:
    params = entry.litellm_params
    provider, _, upstream_model = params.model.partition("/")
    if provider not in PROVIDERS or not upstream_model:
        _refuse([f"{path}.model: {params.model!r} must be `provider/model`; providers are {', '.join(PROVIDERS)}"])
    known = credentials.get(provider, Credentials())
    return Deployment(
        model_id=entry.model_info.id or f"{entry.model_name}-{position + 1}",
        group=entry.model_name,
        provider=provider,
        upstream_model=upstream_model,
        model=_model(entry, provider, upstream_model, catalog, path),
        api_base=params.api_base or known.api_base,
        api_key=params.api_key or (_NO_KEY if _is_compatible_server(provider, params) else known.api_key),
        timeout_s=params.timeout or router.timeout,
        first_token_timeout_s=params.stream_timeout or router.stream_timeout,
        idle_timeout_s=params.idle_timeout or router.idle_timeout,
    )


def _is_compatible_server(provider: str, params: LitellmParams) -> bool:
    """Say whether someone else's server is meant, which speaks OpenAI's wire and must not see OpenAI's key."""
    if provider != "openai" or params.api_base is None:
        return False
    host = urlsplit(params.api_base).hostname or ""
    return host != "openai.com" and not host.endswith(".openai.com")


def _model(entry: ModelEntry, provider: str, upstream_model: str, catalog: Catalog, path: str) -> Model:
    """Take the catalog's entry, or the file's own prices on top of it. Raises `ConfigError` without either."""
    params = entry.litellm_params
    model = catalog.models.get((provider, upstream_model))
    mode = entry.model_info.mode or (model.mode if model else "chat")
    if prices := _prices(params, mode):
        model = replace(model or _unknown_model(upstream_model, params, prices), prices=prices, long_context=())
    if model is None:
        _refuse([
            f"{path}.model: {provider}/{upstream_model} has no known price; "
            "add input_cost_per_token and output_cost_per_token (USD) beside it"
        ])  # fmt: skip
    return replace(model, mode=mode)


def _prices(params: LitellmParams, mode: Mode) -> Prices | None:
    """Give the file's own prices, if it has them; embeddings have no output."""
    output = Decimal(0) if mode == "embedding" else params.output_cost_per_token
    if params.input_cost_per_token is None or output is None:
        return None
    cached = params.cache_read_input_token_cost
    return Prices(
        input=params.input_cost_per_token * _PER_1M,
        output=output * _PER_1M,
        cache_read=None if cached is None else cached * _PER_1M,
    )


def _unknown_model(upstream_model: str, params: LitellmParams, prices: Prices) -> Model:
    """Describe a model of which only the price is known; at an own address, its server knows what it takes."""
    capabilities = {"compatible_server": True} if params.api_base else {}
    return Model(upstream_model=upstream_model, prices=prices, capabilities=capabilities)


def _fallbacks(file: GatewayFile, groups: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    fallbacks = {group: chain for entry in file.router_settings.fallbacks for group, chain in entry.items()}
    unknown = sorted({name for group, chain in fallbacks.items() for name in (group, *chain)} - set(groups))
    if unknown:
        _refuse([f"router_settings.fallbacks: {name!r} is no model_name of model_list" for name in unknown])
    return fallbacks


def _budget(file: GatewayFile) -> Budget | None:
    settings = file.litellm_settings
    if settings.max_budget is None:
        return None
    return Budget(
        budget_id=GLOBAL_BUDGET,
        max_budget=nano_usd(settings.max_budget),
        duration=settings.budget_duration,
        thresholds=file.general_settings.budget_alert_thresholds,
    )


def _innermost(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out what is only said of a list because of its element."""
    paths = [fault["loc"] for fault in faults]
    return [fault for fault in faults if not any(path[: len(fault["loc"])] == fault["loc"] != path for path in paths)]


def _path(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".") or "the file"


def _explain(fault: ErrorDetails) -> str:
    if fault["type"] == "extra_forbidden":
        return "is not a known setting"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"]) if "ctx" in fault else fault["msg"]
    return fault["msg"]


def _refuse(faults: list[str]) -> NoReturn:
    raise ConfigError("; ".join(faults))
