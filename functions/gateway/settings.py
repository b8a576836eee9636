"""The configuration file's settings: LiteLLM's names, what each accepts, and how a wrong one is told in plain words."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from events.money import nano_usd
from events.window import window_at
from functions.gateway.catalog import Mode
from functions.gateway.policy import Strategy

Path = tuple[int | str, ...]
T = TypeVar("T")

PROVIDERS = ("openai", "anthropic", "gemini")

# What is accepted, as a wrong value's message says it.
WORD = "printable ASCII without blanks"
HTTP_URL = "an http:// or https:// URL with a host"
_SECONDS = "a number of seconds over 0, up to 3600"
_SECONDS_OR_NONE = "a number of seconds from 0 to 3600"
_USD_PER_TOKEN = "a number of USD per token, 0 to 1"  # noqa: S105 (no secret)
_POSITIVE = "a whole number from 1 to 2147483647"
_RETRIES = "a whole number from 0 to 10"
_FAILS = "a whole number from 0 to 1000"
_CHAINS = "a list of `alias: [alias, …]`"
_ALIASES = "a list of aliases"
_SWITCH = "true or false"
_SETTINGS = "settings, indented below it"

_LARGEST_BUDGET_USD = 9_000_000_000  # what a counter of 63 bits can hold
_USD = f"a number of USD: 0, or from 0.000000001 to {_LARGEST_BUDGET_USD}"
_PERIOD = "a whole number and s, m, h, d or w, of a hundred years at most, or 1mo"
_LONGEST_SHOWN = 80


def is_http_url(value: str) -> str:
    """Give the URL. Raises `ValueError` for one that can't be asked."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or re.search(r"\s", value):
        raise ValueError
    return value


def _number(value: object) -> object:
    """Refuse `true` and `false`, which Python takes for 1 and 0, and read a whole number that came as text."""
    if isinstance(value, bool):
        raise ValueError
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _duration(value: str) -> str:
    window_at(value, datetime(2026, 1, 1, tzinfo=UTC))
    return value


def _budget(value: Decimal) -> Decimal:
    if value and not nano_usd(value):
        raise ValueError
    return value


Word = Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")]
HttpUrl = Annotated[str, AfterValidator(is_http_url)]
_ProviderModel = Annotated[str, Field(pattern=rf"^({'|'.join(PROVIDERS)})/[\x21-\x7e]+$")]
_Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=3600)]
_SecondsOrNone = Annotated[float, BeforeValidator(_number), Field(ge=0, le=3600)]
_Positive = Annotated[int, BeforeValidator(_number), Field(ge=1, le=2**31 - 1)]
_Retries = Annotated[int, BeforeValidator(_number), Field(ge=0, le=10)]
_Fails = Annotated[int, BeforeValidator(_number), Field(ge=0, le=1000)]
_Weight = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1_000_000)]
_Order = Annotated[int, BeforeValidator(_number), Field(ge=0, le=1_000_000)]
_Chains = tuple[dict[str, tuple[str, ...]], ...]
_Megabytes = Annotated[float, BeforeValidator(_number), Field(ge=0.001, le=512)]
_Percent = Annotated[int, BeforeValidator(_number), Field(ge=1, le=1000)]
_UsdPerToken = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, le=1)]
_Budget = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, le=_LARGEST_BUDGET_USD), AfterValidator(_budget)]
_Status = Annotated[Literal[400, 402, 403, 422, 429], BeforeValidator(_number)]
_Duration = Annotated[str, AfterValidator(_duration)]


def first_given(one: T | None, other: T | None) -> T | None:
    """Give a setting, or where it is not set the one that stands in for it."""
    return other if one is None else one


class Section(BaseModel):
    """Some settings. What is not a field is refused; a field's `description` says what it accepts."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class OwnPrices(Section):
    """USD per token, instead of the catalog's prices."""

    input_cost_per_token: _UsdPerToken | None = Field(default=None, description=_USD_PER_TOKEN)
    output_cost_per_token: _UsdPerToken | None = Field(default=None, description=_USD_PER_TOKEN)
    cache_read_input_token_cost: _UsdPerToken | None = Field(default=None, description=_USD_PER_TOKEN)


class AttemptTimeouts(Section):
    """How long an attempt may take, in seconds; `timeouts.py` says what each bounds and what holds without it."""

    timeout: _Seconds | None = Field(default=None, description=_SECONDS)
    stream_timeout: _Seconds | None = Field(default=None, description=_SECONDS)
    first_token_timeout: _Seconds | None = Field(default=None, description=_SECONDS)
    idle_timeout: _Seconds | None = Field(default=None, description=_SECONDS)


class LitellmParams(OwnPrices, AttemptTimeouts):
    """How one deployment is reached, and its share of its group's traffic.

    Of a group, those with the lowest `order` are asked first, those without one last. `max_retries` is LiteLLM's other
    name for `num_retries`, which wins.
    """

    model: _ProviderModel = Field(description=f"`provider/model`; providers are {', '.join(PROVIDERS)}")
    api_key: Word | None = Field(default=None, repr=False, description=WORD)
    api_base: HttpUrl | None = Field(default=None, repr=False, description=HTTP_URL)
    order: _Order | None = Field(default=None, description="a whole number from 0 to 1000000")
    weight: _Weight | None = Field(default=None, description="a number from 0 to 1000000")
    rpm: _Positive | None = Field(default=None, description=_POSITIVE)
    tpm: _Positive | None = Field(default=None, description=_POSITIVE)
    max_parallel_requests: _Positive | None = Field(default=None, description=_POSITIVE)
    num_retries: _Retries | None = Field(default=None, description=_RETRIES)
    max_retries: _Retries | None = Field(default=None, description=_RETRIES)
    allowed_fails: _Fails | None = Field(default=None, description=_FAILS)
    cooldown_time: _SecondsOrNone | None = Field(default=None, description=_SECONDS_OR_NONE)

    @property
    def provider(self) -> str:
        """Whose wire it is."""
        return self.model.partition("/")[0]

    @property
    def upstream_model(self) -> str:
        """What the provider calls the model."""
        return self.model.partition("/")[2]


class ModelInfo(OwnPrices):
    """`id` names the deployment in the `x-litellm-model-id` header; without it, `group-n` does.

    `mode` says what a model is for that the catalog doesn't know; `base_model` names the catalog's entry that holds
    for it. The limits win over the catalog's; `max_tokens` is LiteLLM's other name for `max_output_tokens`, which wins.
    """

    id: Word | None = Field(default=None, description=WORD)
    mode: Mode | None = Field(default=None, description="chat or embedding")
    base_model: Word | None = Field(default=None, description="`provider/model`, or a model of the same provider")
    max_input_tokens: _Positive | None = Field(default=None, description=_POSITIVE)
    max_output_tokens: _Positive | None = Field(default=None, description=_POSITIVE)
    max_tokens: _Positive | None = Field(default=None, description=_POSITIVE)


class ModelEntry(Section):
    """One deployment. Which one of several with the same `model_name` is asked first, the routing strategy says."""

    model_name: Word = Field(description=WORD)
    litellm_params: LitellmParams = Field(description=_SETTINGS)
    model_info: ModelInfo = Field(default=ModelInfo(), description=_SETTINGS)


class Resilience(Section):
    """Who takes over from whom, and when one is asked again. `litellm_settings`' hold where the router's are silent."""

    fallbacks: _Chains | None = Field(default=None, description=_CHAINS)
    default_fallbacks: tuple[str, ...] | None = Field(default=None, description=_ALIASES)
    context_window_fallbacks: _Chains | None = Field(default=None, description=_CHAINS)
    content_policy_fallbacks: _Chains | None = Field(default=None, description=_CHAINS)
    num_retries: _Retries | None = Field(default=None, description=_RETRIES)
    allowed_fails: _Fails | None = Field(default=None, description=_FAILS)
    cooldown_time: _SecondsOrNone | None = Field(default=None, description=_SECONDS_OR_NONE)


class RoutingStrategyArgs(Section):
    """Of latency-based routing: how old a measurement may be, and who is as good as the fastest (0.2: 20 % slower)."""

    ttl: _Seconds = Field(default=3600, description=_SECONDS)
    lowest_latency_buffer: Annotated[float, BeforeValidator(_number), Field(ge=0, le=100)] = Field(
        default=0, description="a share from 0 to 100, such as 0.2"
    )


class RouterSettings(Resilience, AttemptTimeouts):
    """Who is asked first, who takes over from whom, how often, and how long an attempt may take."""

    routing_strategy: Strategy = Field(default="simple-shuffle", description=f"one of {', '.join(get_args(Strategy))}")
    routing_strategy_args: RoutingStrategyArgs = Field(default=RoutingStrategyArgs(), description=_SETTINGS)
    model_group_alias: dict[Word, str] = Field(
        default={}, description="`alias: alias`, the second one a model_name of model_list"
    )
    max_fallbacks: Annotated[int, BeforeValidator(_number), Field(ge=0, le=100)] = Field(
        default=5, description="a whole number from 0 to 100"
    )
    max_attempts: Annotated[int, BeforeValidator(_number), Field(ge=1, le=20)] = Field(
        default=4, description="a whole number from 1 to 20"
    )
    retry_after: _SecondsOrNone = Field(default=0, description=_SECONDS_OR_NONE)
    disable_cooldowns: bool = Field(default=False, description=_SWITCH)
    enable_pre_call_checks: bool = Field(default=False, description=_SWITCH)
    continue_streams: bool = Field(default=True, description=_SWITCH)
    hedge_percentile: Annotated[int, BeforeValidator(_number), Field(ge=50, le=99)] | None = Field(
        default=None, description="a whole percentile from 50 to 99, or leave it out"
    )


class LitellmSettings(Resilience):
    """The global budget in USD (none without `max_budget`), and what holds for every request.

    The budgets of each end user, and of each user without one of their own, last for good without a duration.
    `budget_lowers_max_tokens` says whether an answer is made shorter where a budget can't cover all that was asked for,
    `drop_params` what happens to parameters an upstream can't take, `request_timeout` how many seconds a request may
    take over all its attempts.
    """

    max_budget: _Budget | None = Field(default=None, description=_USD)
    budget_duration: _Duration = Field(default="1d", description=_PERIOD)
    max_end_user_budget: _Budget | None = Field(default=None, description=_USD)
    end_user_budget_duration: _Duration | None = Field(default=None, description=_PERIOD)
    max_internal_user_budget: _Budget | None = Field(default=None, description=_USD)
    internal_user_budget_duration: _Duration | None = Field(default=None, description=_PERIOD)
    budget_exceeded_status_code: _Status = Field(default=429, description="400, 402, 403, 422 or 429")
    budget_lowers_max_tokens: bool = Field(default=True, description=_SWITCH)
    drop_params: bool = Field(default=True, description=_SWITCH)
    request_timeout: _Seconds = Field(default=600, description=_SECONDS)


class GeneralSettings(Section):
    """Access, limits and alerts."""

    master_key: Word | None = Field(default=None, repr=False, description=WORD)
    max_request_size_mb: _Megabytes = Field(default=20, description="a number of megabytes from 0.001 to 512")
    budget_alert_thresholds: tuple[_Percent, ...] = Field(
        default=(50, 80, 95, 100), description="a list of whole percentages, each from 1 to 1000"
    )


class GatewayFile(Section):
    """The whole file."""

    model_list: Annotated[tuple[ModelEntry, ...], Field(min_length=1)] = Field(
        description="a list of at least one model, each with model_name and litellm_params"
    )
    router_settings: RouterSettings = Field(default=RouterSettings(), description=_SETTINGS)
    litellm_settings: LitellmSettings = Field(default=LitellmSettings(), description=_SETTINGS)
    general_settings: GeneralSettings = Field(default=GeneralSettings(), description=_SETTINGS)


_INSIDE: Mapping[str, type[Section]] = {
    "model_list": ModelEntry,
    "litellm_params": LitellmParams,
    "model_info": ModelInfo,
    "router_settings": RouterSettings,
    "routing_strategy_args": RoutingStrategyArgs,
    "litellm_settings": LitellmSettings,
    "general_settings": GeneralSettings,
}
OPTIONAL_SECTIONS = frozenset(_INSIDE) - {"model_list", "litellm_params"}


def faults_of(error: ValidationError, variables: Mapping[Path, str]) -> list[str]:
    """Tell every fault of a file, each by its path; of the `variables` at theirs, the name instead of the value."""
    faults = _innermost(error.errors(include_url=False))
    return [f"{path_of(fault['loc'])}: {_explained(fault, variables)}" for fault in faults]


def path_of(loc: Path) -> str:
    """Write a path in the file, such as `model_list[0].model_name`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".") or "the file"


def refusal(value: object, field: FieldInfo) -> str:
    """Say that a field doesn't take the value, and what it takes; a secret is not shown."""
    is_shown = field.repr and isinstance(value, str | int | float)
    shown = f"{repr(value)[:_LONGEST_SHOWN]} " if is_shown else ""
    return f"{shown}is not accepted; write {field.description}"


def _explained(fault: ErrorDetails, variables: Mapping[Path, str]) -> str:
    section, field = _place(fault["loc"])
    if fault["type"] == "extra_forbidden" and section is not None:
        return f"is not a known setting; known are {', '.join(section.model_fields)}"
    if field is None:
        return f"is not accepted; write settings, of which known are {', '.join(GatewayFile.model_fields)}"
    if fault["type"] == "missing":
        return f"is missing; write {field.description}"
    return refusal(variables.get(fault["loc"], fault["input"]), field)


def _place(loc: Path) -> tuple[type[Section] | None, FieldInfo | None]:
    """Find the innermost field on a path, and the section that may follow it."""
    section: type[Section] | None = GatewayFile
    field = None
    for part in loc:
        if isinstance(part, int):
            continue
        if section is None or part not in section.model_fields:
            break
        section, field = _INSIDE.get(part), section.model_fields[part]
    return section, field


def _innermost(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out what is only said of a list because of its element."""
    paths = [fault["loc"] for fault in faults]
    return [fault for fault in faults if not any(path[: len(fault["loc"])] == fault["loc"] != path for path in paths)]
