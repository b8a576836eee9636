"""The configuration, resolved: what the file says, checked against the catalog, the environment and itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

from pydantic import ValidationError

from events.budget import Budget
from events.money import nano_usd
from functions.gateway.catalog import Catalog, Model, Prices
from functions.gateway.policy import RoutingPolicy
from functions.gateway.ports import Deployment
from functions.gateway.settings import (
    OPTIONAL_SECTIONS,
    GatewayFile,
    LitellmParams,
    ModelEntry,
    Path,
    RouterSettings,
    faults_of,
    path_of,
)

GLOBAL_BUDGET = "global"
_PER_1M = 1_000_000
_NO_KEY = "none"  # the SDK wants one, servers without keys pass over it
_VARIABLE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_LIKE_A_VARIABLE = re.compile(r"os\.environ\b")


class ConfigError(ValueError):
    """The configuration can't be served. The message names the path in it and what is accepted."""


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
    routing: RoutingPolicy
    drop_params: bool
    budget: Budget | None
    budget_exceeded_status: int
    master_key: str | None = field(repr=False)
    max_request_bytes: int
    request_timeout_s: float = 600
    is_sandbox: bool = False  # no provider is asked: nothing has a key


def parse_config(
    data: object,
    *,
    catalog: Catalog,
    environment: Mapping[str, str],
    credentials: Mapping[str, Credentials],
    sandbox: Mapping[str, Credentials] | None = None,
) -> Config:
    """Check the file's content and resolve it. Raises `ConfigError` with every fault, by its path.

    The `sandbox`, where there is one, answers if no deployment has a key.
    """
    file = _checked(data, environment)
    reached = [_reached(entry.litellm_params, credentials) for entry in file.model_list]
    is_sandbox = sandbox is not None and not any(access.api_key for access in reached)
    if sandbox is not None and is_sandbox:
        reached = [_made_up(entry.litellm_params, sandbox) for entry in file.model_list]
    deployments = _deployments(file, catalog, reached)
    return Config(
        catalog_version=catalog.version,
        deployments=deployments,
        routing=RoutingPolicy(fallbacks=_fallbacks(file, deployments)),
        drop_params=file.litellm_settings.drop_params,
        budget=_budget(file),
        budget_exceeded_status=file.litellm_settings.budget_exceeded_status_code,
        master_key=file.general_settings.master_key,
        max_request_bytes=int(file.general_settings.max_request_size_mb * 1024 * 1024),
        request_timeout_s=file.litellm_settings.request_timeout,
        is_sandbox=is_sandbox,
    )


def _checked(data: object, environment: Mapping[str, str]) -> GatewayFile:
    variables = _Variables(environment)
    data = variables.put_in(data, ())
    try:
        file = GatewayFile.model_validate(data)
    except ValidationError as error:
        known = {fault.partition(":")[0] for fault in variables.faults}
        others = [fault for fault in faults_of(error, variables.named) if fault.partition(":")[0] not in known]
        _refuse([*variables.faults, *others])
    if variables.faults:
        _refuse(variables.faults)
    return file


class _Variables:
    """Puts variables in where the file has `os.environ/NAME`, and notes what is wrong with that."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.faults: list[str] = []
        self.named: dict[Path, str] = {}  # what the file says where a variable was put in
        self._environment = environment

    def put_in(self, value: Any, path: Path) -> Any:
        """Give the value with its variables, and without empty sections.

        A setting without a value is a fault, as is a variable that isn't set: taken for absent, it would open a
        gateway or lift a budget.
        """
        match value:
            case dict():
                return {
                    key: self.put_in(item, (*path, key))
                    for key, item in cast("dict[Any, Any]", value).items()
                    if item is not None or key not in OPTIONAL_SECTIONS
                }
            case list():
                items = cast("list[Any]", value)
                return [self.put_in(item, (*path, position)) for position, item in enumerate(items)]
            case str() if _LIKE_A_VARIABLE.match(value):
                return self._variable(value, path)
            case None if path:
                self.faults.append(f"{path_of(path)}: has no value; write one, or leave the setting out")
            case _:
                pass
        return value

    def _variable(self, written: str, path: Path) -> str:
        self.named[path] = written
        match = _VARIABLE.fullmatch(written)
        if match is None:
            self.faults.append(f"{path_of(path)}: {written!r} names no variable; write `os.environ/NAME`, with a slash")
            return written
        found = self._environment.get(match[1])
        if not found:
            self.faults.append(f"{path_of(path)}: the variable {match[1]} is not set; set it, or leave the setting out")
        return found or written


def _reached(params: LitellmParams, credentials: Mapping[str, Credentials]) -> Credentials:
    """Say how a deployment is reached: as the file says, and where it doesn't, as the environment does."""
    known = credentials.get(params.provider, Credentials())
    key = params.api_key or (_NO_KEY if _is_compatible_server(params) else known.api_key)
    return Credentials(api_key=key, api_base=params.api_base or known.api_base)


def _made_up(params: LitellmParams, sandbox: Mapping[str, Credentials]) -> Credentials:
    """Have the sandbox stand in for a provider, but not at an address of the file's own."""
    return Credentials(api_base=params.api_base) if params.api_base else sandbox[params.provider]


def _deployments(
    file: GatewayFile, catalog: Catalog, reached: Sequence[Credentials]
) -> dict[str, tuple[Deployment, ...]]:
    groups: dict[str, tuple[Deployment, ...]] = {}
    ids: set[str] = set()
    for index, (entry, access) in enumerate(zip(file.model_list, reached, strict=True)):
        group = groups.get(entry.model_name, ())
        path = f"model_list[{index}]"
        deployment = _deployment(entry, len(group), file.router_settings, catalog, access, path)
        if deployment.model_id in ids:
            where = f"{path}.model_info.id"
            _refuse([f"{where}: {deployment.model_id!r} is an earlier deployment's id; write another one"])
        ids.add(deployment.model_id)
        groups[entry.model_name] = (*group, deployment)
    return groups


def _deployment(
    entry: ModelEntry, position: int, router: RouterSettings, catalog: Catalog, access: Credentials, path: str
) -> Deployment:
    params = entry.litellm_params
    return Deployment(
        model_id=entry.model_info.id or f"{entry.model_name}-{position + 1}",
        group=entry.model_name,
        provider=params.provider,
        upstream_model=params.upstream_model,
        model=_model(entry, catalog, path),
        api_base=access.api_base,
        api_key=access.api_key,
        timeout_s=params.timeout or router.timeout,
        first_token_timeout_s=params.stream_timeout or router.stream_timeout,
        idle_timeout_s=params.idle_timeout or router.idle_timeout,
    )


def _is_compatible_server(params: LitellmParams) -> bool:
    """Say whether someone else's server is meant, which speaks OpenAI's wire and must not see OpenAI's key."""
    if params.provider != "openai" or params.api_base is None:
        return False
    host = urlsplit(params.api_base).hostname or ""
    return host != "openai.com" and not host.endswith(".openai.com")


def _model(entry: ModelEntry, catalog: Catalog, path: str) -> Model:
    """Take the catalog's entry, or the file's own prices on top of it. Raises `ConfigError` without either."""
    params = entry.litellm_params
    model = catalog.models.get((params.provider, params.upstream_model))
    mode = entry.model_info.mode or (model.mode if model else "chat")
    if prices := _prices(params, mode):
        model = replace(model or _unknown_model(params, prices), prices=prices, long_context=())
    if model is None:
        _refuse([
            f"{path}.litellm_params.model: {params.model} has no known price; "
            "add input_cost_per_token and output_cost_per_token (USD) beside it"
        ])  # fmt: skip
    return replace(model, mode=mode)


def _prices(params: LitellmParams, mode: str) -> Prices | None:
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


def _unknown_model(params: LitellmParams, prices: Prices) -> Model:
    """Describe a model of which only the price is known; at an own address, its server knows what it takes."""
    capabilities = {"compatible_server": True} if params.api_base else {}
    return Model(upstream_model=params.upstream_model, prices=prices, capabilities=capabilities)


def _fallbacks(file: GatewayFile, groups: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    fallbacks: dict[str, tuple[str, ...]] = {}
    for index, entry in enumerate(file.router_settings.fallbacks):
        for group, chain in entry.items():
            if group in fallbacks:
                path = f"router_settings.fallbacks[{index}]"
                _refuse([f"{path}: {group!r} has a chain in an earlier entry; write one entry for it"])
            fallbacks[group] = chain
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


def _refuse(faults: list[str]) -> NoReturn:
    raise ConfigError("; ".join(faults))
