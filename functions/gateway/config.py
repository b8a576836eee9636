"""The configuration, resolved: what the file says, checked against the catalog, the environment and itself."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

from pydantic import ValidationError

from events.budget import Budget
from events.money import NanoUsd, nano_usd
from functions.gateway.access import covers
from functions.gateway.catalog import Catalog, Model
from functions.gateway.configured_chains import chains_of, faults_of_chains
from functions.gateway.known_models import UnknownModel, known_model
from functions.gateway.limits import NO_DEFAULTS, Defaults
from functions.gateway.policy import RoutingPolicy
from functions.gateway.ports import Deployment
from functions.gateway.settings import (
    OPTIONAL_SECTIONS,
    GatewayFile,
    LitellmParams,
    ModelEntry,
    Path,
    Resilience,
    faults_of,
    first_given,
    path_of,
)
from functions.gateway.timeouts import timeouts_of

GLOBAL_BUDGET = "global"

_COOLDOWN_S = 5
_NUM_RETRIES = 2
_LAST = 2**31 - 1  # the order of a deployment without one: LiteLLM asks those with one before it
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
    deployments: Mapping[str, tuple[Deployment, ...]]  # by alias, in the file's order
    routing: RoutingPolicy
    drop_params: bool
    budget: Budget  # of all together
    defaults: Defaults = NO_DEFAULTS
    group_names: Mapping[str, str] = field(default_factory=dict[str, str])  # by aliases of theirs
    budget_exceeded_status: int
    budget_lowers_max_tokens: bool = True
    master_key: str | None = field(repr=False)
    max_request_bytes: int
    request_timeout_s: float = 600
    is_sandbox: bool = False  # no provider is asked: nothing has a key

    def means(self, entry: str, alias: str) -> bool:
        """Say whether an entry of a list of models stands for an alias, or for the group that it is another name of."""
        group = self.deployments.get(alias, ())
        return covers(entry, alias, group) or covers(entry, self.group_names.get(alias, alias), group)


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
        routing=_routing(file, deployments),
        group_names=file.router_settings.model_group_alias,
        drop_params=file.litellm_settings.drop_params,
        budget=_budget(file),
        defaults=_defaults(file),
        budget_exceeded_status=file.litellm_settings.budget_exceeded_status_code,
        budget_lowers_max_tokens=file.litellm_settings.budget_lowers_max_tokens,
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
    """Resolve the groups, and give each alias of a group the group's deployments."""
    groups: dict[str, tuple[Deployment, ...]] = {}
    ids: set[str] = set()
    for index, (entry, access) in enumerate(zip(file.model_list, reached, strict=True)):
        group = groups.get(entry.model_name, ())
        path = f"model_list[{index}]"
        deployment = _deployment(entry, len(group), file, catalog, access, path)
        if deployment.model_id in ids:
            where = f"{path}.model_info.id"
            _refuse([f"{where}: {deployment.model_id!r} is an earlier deployment's id; write another one"])
        ids.add(deployment.model_id)
        groups[entry.model_name] = (*group, deployment)
    aliases = file.router_settings.model_group_alias
    if faults := list(_faults_of_aliases(aliases, groups)):
        _refuse(faults)
    return groups | {alias: tuple(replace(d, group=alias) for d in groups[name]) for alias, name in aliases.items()}


def _faults_of_aliases(aliases: Mapping[str, str], groups: Collection[str]) -> Iterator[str]:
    for alias, group in aliases.items():
        path = f"router_settings.model_group_alias.{alias}"
        if alias in groups:
            yield f"{path}: is a model_name of model_list; write an alias that is none"
        if group not in groups:
            yield f"{path}: {group!r} is no model_name of model_list"


def _deployment(
    entry: ModelEntry, position: int, file: GatewayFile, catalog: Catalog, access: Credentials, path: str
) -> Deployment:
    params, shared = entry.litellm_params, _resilience(file)
    model = _model(entry, catalog, path)
    timeouts = timeouts_of(params, file.router_settings, thinks_unasked=_thinks_unasked(params.provider, model))
    return Deployment(
        model_id=entry.model_info.id or f"{entry.model_name}-{position + 1}",
        group=entry.model_name,
        provider=params.provider,
        upstream_model=params.upstream_model,
        model=model,
        api_base=access.api_base,
        api_key=access.api_key,
        timeout_s=timeouts.whole_s,
        first_token_timeout_s=timeouts.first_token_s,
        idle_timeout_s=timeouts.idle_s,
        order=_LAST if params.order is None else params.order,
        weight=params.weight,
        rpm=params.rpm,
        tpm=params.tpm,
        max_parallel_requests=params.max_parallel_requests,
        num_retries=first_given(params.num_retries, params.max_retries),
        allowed_fails=first_given(params.allowed_fails, shared.allowed_fails),
        cooldown_s=_cooldown_s(params, shared, is_disabled=file.router_settings.disable_cooldowns),
    )


def _thinks_unasked(provider: str, model: Model) -> bool:
    """Say whether a model thinks unless it is told not to; Claude does when asked, if it isn't one that always does."""
    knows = model.capabilities
    return knows.get("reasoning") is True and (provider != "anthropic" or knows.get("thinking_always_on") is True)


def _cooldown_s(params: LitellmParams, shared: Resilience, *, is_disabled: bool) -> float:
    given = first_given(params.cooldown_time, shared.cooldown_time)
    return 0 if is_disabled else _COOLDOWN_S if given is None else given


def _is_compatible_server(params: LitellmParams) -> bool:
    """Say whether someone else's server is meant, which speaks OpenAI's wire and must not see OpenAI's key."""
    if params.provider != "openai" or params.api_base is None:
        return False
    host = urlsplit(params.api_base).hostname or ""
    return host != "openai.com" and not host.endswith(".openai.com")


def _model(entry: ModelEntry, catalog: Catalog, path: str) -> Model:
    try:
        return known_model(entry, catalog)
    except UnknownModel as unknown:
        _refuse([f"{path}.{unknown}"])


def _resilience(file: GatewayFile) -> Resilience:
    """Give the router's settings, and LiteLLM's where the router has none."""
    sections = (file.litellm_settings, file.router_settings)
    given = {name: getattr(section, name) for section in sections for name in section.model_fields_set}
    return Resilience(**{name: value for name, value in given.items() if name in Resilience.model_fields})


def _routing(file: GatewayFile, names: Collection[str]) -> RoutingPolicy:
    router, settings = file.router_settings, _resilience(file)
    sections: dict[str, Resilience] = {"router_settings": router, "litellm_settings": file.litellm_settings}
    if faults := [fault for path, section in sections.items() for fault in faults_of_chains(section, path, names)]:
        _refuse(faults)
    chains = chains_of(settings, router.model_group_alias)
    return RoutingPolicy(
        **chains._asdict(),
        strategy=router.routing_strategy,
        max_fallbacks=router.max_fallbacks,
        num_retries=_NUM_RETRIES if settings.num_retries is None else settings.num_retries,
        max_attempts=router.max_attempts,
        shortest_wait_s=router.retry_after,
        checks_context_window=router.enable_pre_call_checks,
        continues_streams=router.continue_streams,
        hedge_percentile=router.hedge_percentile,
        latency_window_s=router.routing_strategy_args.ttl,
        latency_buffer=router.routing_strategy_args.lowest_latency_buffer,
    )


def _defaults(file: GatewayFile) -> Defaults:
    settings = file.litellm_settings
    return Defaults(
        thresholds=file.general_settings.budget_alert_thresholds,
        user_budget=_nano_usd(settings.max_internal_user_budget),
        user_budget_duration=settings.internal_user_budget_duration,
        end_user_budget=_nano_usd(settings.max_end_user_budget),
        end_user_budget_duration=settings.end_user_budget_duration,
    )


def _nano_usd(amount: Decimal | None) -> NanoUsd | None:
    return None if amount is None else nano_usd(amount)


def _budget(file: GatewayFile) -> Budget:
    settings = file.litellm_settings
    return Budget(
        budget_id=GLOBAL_BUDGET,
        max_budget=_nano_usd(settings.max_budget),
        duration=settings.budget_duration,
        thresholds=file.general_settings.budget_alert_thresholds,
    )


def _refuse(faults: list[str]) -> NoReturn:
    raise ConfigError("; ".join(faults))
