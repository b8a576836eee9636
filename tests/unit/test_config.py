"""The configuration file."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from events.money import nano_usd
from functions.bootstrap import load_catalog
from functions.gateway.config import Config, ConfigError, Credentials, parse_config
from functions.gateway.policy import RoutingPolicy
from functions.gateway.ports import Deployment, Wishes
from functions.gateway.settings import AttemptTimeouts
from functions.gateway.timeouts import patient_with, timeouts_of
from tests import builders

SHIPPED = Path(__file__).parents[2] / "infra" / "gateway.yaml"
CLAUDE = "anthropic/claude-sonnet-4-6"
OWN_PRICE = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
GPT = {"model_name": "gpt-4o", "litellm_params": {"model": "openai/gpt-4o"}}


def parse(data: Any, environment: Mapping[str, str] | None = None) -> Config:
    credentials = {"openai": Credentials(api_key="sk-environment", api_base="http://environment")}
    return parse_config(data, catalog=load_catalog(), environment=environment or {}, credentials=credentials)


def with_model(**params: Any) -> dict[str, Any]:
    return {"model_list": [{"model_name": "m", "litellm_params": {"model": "openai/gpt-4o", **params}}]}


def test_the_shipped_file_serves_the_chain_with_ten_dollars_a_day() -> None:
    config = parse(yaml.safe_load(SHIPPED.read_text()))

    assert config.routing.fallbacks["claude-sonnet"] == ("gpt-4o", "gemini-pro")
    assert config.budget is not None
    assert (config.budget.max_budget, config.budget.duration) == (nano_usd(10), "1d")
    assert config.budget.thresholds == (50, 80, 95, 100)


def test_a_value_may_name_an_environment_variable() -> None:
    config = parse(with_model(api_key="os.environ/MY_KEY"), {"MY_KEY": "sk-mine"})

    assert config.deployments["m"][0].api_key == "sk-mine"


def test_what_the_file_leaves_open_comes_from_the_environment() -> None:
    deployment = parse({"model_list": [GPT]}).deployments["gpt-4o"][0]

    assert (deployment.api_key, deployment.api_base) == ("sk-environment", "http://environment")


def test_the_same_name_twice_is_one_group_in_the_order_of_the_file() -> None:
    second = {"model_name": "gpt-4o", "litellm_params": {"model": "openai/gpt-4o-mini"}}

    group = parse({"model_list": [GPT, second]}).deployments["gpt-4o"]

    assert [(d.upstream_model, d.model_id) for d in group] == [("gpt-4o", "gpt-4o-1"), ("gpt-4o-mini", "gpt-4o-2")]


def test_a_model_without_a_known_price_needs_its_own() -> None:
    with pytest.raises(ConfigError, match=r"model_list\[0\].litellm_params.model: openai/mine has no known price"):
        parse(with_model(model="openai/mine"))

    priced = with_model(model="openai/mine", input_cost_per_token=1e-6, output_cost_per_token=2e-6)
    assert parse(priced).deployments["m"][0].model.prices.output == 2


def with_settings(section: str, **settings: Any) -> dict[str, Any]:
    return {"model_list": [GPT], section: settings}


FALLBACKS = [{"gpt-4o": ["gpt-4o"]}, {"gpt-4o": ["gpt-4o"]}]
TAKEN_IDS = [
    {**GPT, "model_name": "a", "model_info": {"id": "b-1"}},
    {**GPT, "model_name": "b"},
]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "the file: is not accepted; write settings, of which known are model_list, "),
        ({"model_list": []}, "model_list: is not accepted; write a list of at least one model"),
        ({"router_settings": {}}, "model_list: is missing; write a list of at least one model"),
        ({"model_list": [GPT], "router": {}}, "router: is not a known setting; known are model_list, "),
        (with_model(region="eu"), "model_list[0].litellm_params.region: is not a known setting; known are timeout, "),
        (with_model(tpm=0), "litellm_params.tpm: 0 is not accepted; write a whole number from 1 to 2147483647"),
        (with_model(num_retries=11), "litellm_params.num_retries: 11 is not accepted; write a whole number from 0 to"),
        (with_model(cooldown_time=-1), "litellm_params.cooldown_time: -1 is not accepted; write a number of seconds"),
        (with_model(timeout="long"), ".timeout: 'long' is not accepted; write a number of seconds over 0, up to 3600"),
        (with_model(timeout=True), "model_list[0].litellm_params.timeout: True is not accepted"),
        (with_model(model="gpt-4o"), "'gpt-4o' is not accepted; write `provider/model`; providers are openai, "),
        (with_model(model="openai/gpt 4o"), "model_list[0].litellm_params.model: 'openai/gpt 4o' is not accepted"),
        (with_model(api_base="localhost:8000"), "api_base: is not accepted; write an http:// or https:// URL with"),
        (with_model(api_base="http:///v1"), "api_base: is not accepted; write an http:// or https:// URL with"),
        (with_model(api_base="http://host:port"), "api_base: is not accepted; write an http:// or https:// URL with"),
        (with_model(api_key="sk-1\n"), "model_list[0].litellm_params.api_key: is not accepted; write printable ASCII"),
        (with_model(api_key=""), "model_list[0].litellm_params.api_key: is not accepted; write printable ASCII"),
        ({"model_list": [{**GPT, "model_name": "grün"}]}, "model_list[0].model_name: 'grün' is not accepted; write pr"),
        ({"model_list": [{**GPT, "model_info": {"id": "a b"}}]}, "model_list[0].model_info.id: 'a b' is not accepted"),
        ({"model_list": TAKEN_IDS}, "model_list[1].model_info.id: 'b-1' is an earlier deployment's id"),
        (with_settings("router_settings", fallbacks=[{"gpt-4o": ["x"]}]), "'x' is no model_name"),
        (with_settings("router_settings", fallbacks=FALLBACKS), "fallbacks[1]: 'gpt-4o' has a chain in an earlier"),
        (with_settings("router_settings", fallbacks=["gpt-4o"]), "router_settings.fallbacks[0]: 'gpt-4o' is not acc"),
        (
            with_settings("router_settings", fallbacks=[{"x": ["gpt-4o"]}]),
            "router_settings.fallbacks: 'x' is no model_n",
        ),
        (with_settings("router_settings", fallbacks=[{"*": ["x"]}]), "router_settings.fallbacks: 'x' is no model_name"),
        (with_settings("router_settings", default_fallbacks=["x"]), "default_fallbacks: 'x' is no model_name of model"),
        (
            with_settings("router_settings", default_fallbacks="x"),
            "default_fallbacks: 'x' is not accepted; write a lis",
        ),
        (
            with_settings("router_settings", default_fallbacks=["gpt-4o"], fallbacks=[{"*": ["gpt-4o"]}]),
            "router_settings.fallbacks: '*' says what default_fallbacks does; write one of them",
        ),
        (
            with_settings("router_settings", context_window_fallbacks=[{"*": ["gpt-4o"]}]),
            "router_settings.context_window_fallbacks: '*' is no model_name of model_list",
        ),
        (
            with_settings("router_settings", content_policy_fallbacks=FALLBACKS),
            "content_policy_fallbacks[1]: 'gpt-4o' has a chain in an earlier entry",
        ),
        (
            with_settings("litellm_settings", context_window_fallbacks=[{"gpt-4o": ["x"]}]),
            "litellm_settings.context_window_fallbacks: 'x' is no model_name of model_list",
        ),
        (
            with_settings("router_settings", routing_strategy="usage-based-routing"),
            "routing_strategy: 'usage-based-routing' is not accepted; write one of simple-shuffle, least-busy, ",
        ),
        (
            with_settings("router_settings", routing_strategy_args={"rpm": 1}),
            "router_settings.routing_strategy_args.rpm: is not a known setting; known are ttl, lowest_latency_buffer",
        ),
        (
            with_settings("router_settings", hedge_percentile=100),
            "hedge_percentile: 100 is not accepted; write a whole",
        ),
        (
            with_settings("router_settings", max_attempts=0),
            "max_attempts: 0 is not accepted; write a whole number from",
        ),
        (with_settings("router_settings", max_fallbacks=True), "router_settings.max_fallbacks: True is not accepted"),
        (with_settings("router_settings", set_verbose=True), "router_settings.set_verbose: is not a known setting"),
        (with_settings("router_settings", debug_level="DEBUG"), "router_settings.debug_level: is not a known setting"),
        (
            with_settings("router_settings", model_group_alias={"gpt": {"model": "gpt-4o", "hidden": True}}),
            "router_settings.model_group_alias.gpt: is not accepted; write `alias: alias`",
        ),
        (
            with_settings("router_settings", model_group_alias={"gpt": "x"}),
            "router_settings.model_group_alias.gpt: 'x' is no model_name of model_list",
        ),
        (
            with_settings("router_settings", model_group_alias={"gpt-4o": "gpt-4o"}),
            "router_settings.model_group_alias.gpt-4o: is a model_name of model_list; write an alias that is none",
        ),
        (
            {"model_list": [{**GPT, "model_info": {"base_model": "gpt-0"}}]},
            "model_list[0].model_info.base_model: 'gpt-0' is not in the catalog; write `provider/model` of one that is",
        ),
        ({"model_list": [{**GPT, "model_info": {"max_tokens": 0}}]}, "model_info.max_tokens: 0 is not accepted"),
        (with_settings("litellm_settings", budget_duration="1y"), "budget_duration: '1y' is not accepted; write a who"),
        (with_settings("litellm_settings", budget_duration="999999w"), "budget_duration: '999999w' is not accepted"),
        (with_settings("litellm_settings", max_budget=-1), "litellm_settings.max_budget: -1 is not accepted; write a"),
        (with_settings("litellm_settings", max_budget=1e-10), "litellm_settings.max_budget: 1e-10 is not accepted"),
        (with_settings("litellm_settings", max_budget="1e999999"), "litellm_settings.max_budget: '1e999999' is not"),
        (with_settings("litellm_settings", max_budget=True), "litellm_settings.max_budget: True is not accepted"),
        (with_settings("litellm_settings", max_budget=None), "litellm_settings.max_budget: has no value; write one"),
        (with_settings("litellm_settings", max_end_user_budget=-1), "litellm_settings.max_end_user_budget: -1 is not"),
        (with_settings("litellm_settings", end_user_budget_duration="1y"), "end_user_budget_duration: '1y' is not acc"),
        (with_settings("litellm_settings", max_internal_user_budget="x"), "max_internal_user_budget: 'x' is not"),
        (with_settings("general_settings", budget_alert_thresholds=[0]), "thresholds[0]: 0 is not accepted; write a l"),
        (with_settings("general_settings", budget_alert_thresholds=[True]), "budget_alert_thresholds[0]: True is not"),
        (with_settings("general_settings", max_request_size_mb=1e-7), "max_request_size_mb: 1e-07 is not accepted"),
        (
            with_settings("general_settings", master_key="sk with blanks"),
            "master_key: is not accepted; write printable",
        ),
    ],
)
def test_a_wrong_setting_is_refused_by_its_path(data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse(data)


def test_a_request_has_ten_minutes_unless_the_file_says_otherwise() -> None:
    hasty = {"model_list": [GPT], "litellm_settings": {"request_timeout": 30}}

    assert parse({"model_list": [GPT]}).request_timeout_s == 600
    assert parse(hasty).request_timeout_s == 30


# --- routing ---------------------------------------------------------------------------------------


def routing(router: dict[str, Any], litellm: dict[str, Any] | None = None) -> RoutingPolicy:
    models = [GPT, {**GPT, "model_name": "large"}, {**GPT, "model_name": "other"}]
    return parse({"model_list": models, "router_settings": router, "litellm_settings": litellm or {}}).routing


def deployed(router: dict[str, Any] | None = None, info: dict[str, Any] | None = None, **params: Any) -> Deployment:
    model = {"model_name": "m", "litellm_params": {"model": "openai/gpt-4o", **params}, "model_info": info or {}}
    return parse({"model_list": [model], "router_settings": router or {}}).deployments["m"][0]


def test_what_the_file_does_not_say_of_routing_is_the_policys_own_default() -> None:
    assert routing({}) == RoutingPolicy()


def test_the_routers_settings_are_the_policy() -> None:
    policy = routing(
        {
            "routing_strategy": "latency-based-routing",
            "routing_strategy_args": {"ttl": 60, "lowest_latency_buffer": 0.2},
            "max_fallbacks": 3,
            "num_retries": 1,
            "max_attempts": 6,
            "retry_after": 0.5,
            "enable_pre_call_checks": True,
            "continue_streams": False,
            "hedge_percentile": 95,
        }
    )

    assert policy == RoutingPolicy(
        strategy="latency-based-routing",
        max_fallbacks=3,
        num_retries=1,
        max_attempts=6,
        shortest_wait_s=0.5,
        checks_context_window=True,
        continues_streams=False,
        hedge_percentile=95,
        latency_window_s=60,
        latency_buffer=0.2,
    )


CHAINS: dict[str, Any] = {
    "fallbacks": [{"gpt-4o": ["large", "other"]}],
    "default_fallbacks": ["other"],
    "context_window_fallbacks": [{"gpt-4o": ["large"]}],
    "content_policy_fallbacks": [{"large": ["other"]}],
}


@pytest.mark.parametrize("sections", [(CHAINS, {}), ({}, CHAINS)], ids=["router", "litellm"])
def test_chains_may_stand_in_either_section(sections: tuple[dict[str, Any], dict[str, Any]]) -> None:
    policy = routing(*sections)

    assert policy == RoutingPolicy(
        fallbacks={"gpt-4o": ("large", "other")},
        default_fallbacks=("other",),
        context_window_fallbacks={"gpt-4o": ("large",)},
        content_policy_fallbacks={"large": ("other",)},
    )


def test_what_the_router_sets_wins_over_litellms() -> None:
    policy = routing({"num_retries": 0, "fallbacks": []}, {"num_retries": 5, **CHAINS})

    assert (policy.num_retries, policy.fallbacks, policy.default_fallbacks) == (0, {}, ("other",))


def test_a_chain_for_any_alias_is_the_default_one() -> None:
    policy = routing({"fallbacks": [{"*": ["other"]}, {"gpt-4o": ["large"]}]})

    assert (policy.default_fallbacks, policy.fallbacks) == (("other",), {"gpt-4o": ("large",)})


def test_an_alias_of_a_group_has_its_deployments() -> None:
    config = parse(with_settings("router_settings", model_group_alias={"gpt": "gpt-4o"}))

    assert config.deployments["gpt"] == (replace(config.deployments["gpt-4o"][0], group="gpt"),)


def test_an_alias_of_a_group_has_its_chain() -> None:
    policy = routing({"model_group_alias": {"gpt": "gpt-4o"}, **CHAINS})

    assert policy.fallbacks["gpt"] == policy.fallbacks["gpt-4o"]
    assert policy.context_window_fallbacks["gpt"] == ("large",)


def test_an_alias_may_have_a_chain_of_its_own() -> None:
    chains = [{"gpt-4o": ["large"]}, {"gpt": ["other"]}]

    policy = routing({"model_group_alias": {"gpt": "gpt-4o", "spare": "other"}, "fallbacks": chains})

    assert policy.fallbacks == {"gpt-4o": ("large",), "gpt": ("other",)}


def test_an_alias_may_take_over() -> None:
    policy = routing({"model_group_alias": {"spare": "other"}, "default_fallbacks": ["spare"]})

    assert policy.default_fallbacks == ("spare",)


def test_a_deployments_own_settings_say_its_share_of_the_traffic() -> None:
    deployment = deployed(order=1, weight=0.5, rpm=10, tpm="1000", max_parallel_requests=4, num_retries=0)

    assert (deployment.order, deployment.weight, deployment.num_retries) == (1, 0.5, 0)
    assert (deployment.rpm, deployment.tpm, deployment.max_parallel_requests) == (10, 1000, 4)


def test_a_deployment_without_an_order_comes_after_those_with_one() -> None:
    assert deployed().order > deployed(order=1_000_000).order


def test_max_retries_is_another_name_for_num_retries() -> None:
    assert deployed(max_retries=1).num_retries == 1
    assert deployed(max_retries=1, num_retries=0).num_retries == 0


def test_a_deployments_cooldown_is_its_own_or_the_routers() -> None:
    router = {"cooldown_time": 20, "allowed_fails": 3}

    assert (deployed(router).cooldown_s, deployed(router).allowed_fails) == (20, 3)
    assert (deployed(router, cooldown_time=0).cooldown_s, deployed(router, allowed_fails=0).allowed_fails) == (0, 0)
    assert (deployed().cooldown_s, deployed().allowed_fails) == (5, None)


def test_cooldowns_can_be_switched_off_for_all() -> None:
    assert deployed({"disable_cooldowns": True}, cooldown_time=20).cooldown_s == 0


def test_litellms_settings_hold_for_cooldowns_as_well() -> None:
    deployment = parse(with_settings("litellm_settings", cooldown_time=30, allowed_fails=2)).deployments["gpt-4o"][0]

    assert (deployment.cooldown_s, deployment.allowed_fails) == (30, 2)


# --- timeouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("router", "params", "first_token_s", "idle_s"),
    [
        ({}, {}, 10, 20),
        ({"stream_timeout": 7}, {}, 7, 7),
        ({"first_token_timeout": 8, "idle_timeout": 9, "stream_timeout": 7}, {}, 8, 9),
        ({"first_token_timeout": 8, "idle_timeout": 9}, {"stream_timeout": 6}, 6, 6),
        ({}, {"stream_timeout": 6, "first_token_timeout": 4, "idle_timeout": 5}, 4, 5),
        ({"timeout": 3}, {}, 3, 3),
        ({"timeout": 3}, {"timeout": 20}, 10, 20),
        ({"first_token_timeout": 40}, {"timeout": 20}, 20, 20),
        ({"timeout": 200}, {}, 10, 20),
    ],
)
def test_a_streams_timeouts_are_the_first_that_are_given(
    router: dict[str, Any], params: dict[str, Any], first_token_s: float, idle_s: float
) -> None:
    deployment = deployed(router, **params)

    assert (deployment.first_token_timeout_s, deployment.idle_timeout_s) == (first_token_s, idle_s)


def test_a_whole_answer_has_five_minutes_unless_the_file_says_otherwise() -> None:
    assert deployed().timeout_s == 300
    assert deployed({"timeout": 200}).timeout_s == 200
    assert deployed({"timeout": 200}, timeout=20).timeout_s == 20


@pytest.mark.parametrize(
    ("model", "patience_s"),
    [
        ("openai/gpt-5", (60, 60)),
        ("gemini/gemini-2.5-pro", (60, 60)),
        ("anthropic/claude-fable-5", (60, 60)),
        ("anthropic/claude-sonnet-4-6", (10, 20)),  # thinks when it is asked to, and shows it
        ("openai/gpt-4o", (10, 20)),
    ],
)
def test_a_model_that_thinks_unasked_may_be_silent_for_a_minute(model: str, patience_s: tuple[float, float]) -> None:
    thinker = deployed(model=model)

    assert (thinker.first_token_timeout_s, thinker.idle_timeout_s) == patience_s
    assert deployed({"stream_timeout": 5}, model=model).first_token_timeout_s == 5


SECONDS = st.floats(min_value=0.01, max_value=3600)
GIVEN = st.fixed_dictionaries(
    {}, optional={f"{kind}timeout": SECONDS for kind in ("", "stream_", "first_token_", "idle_")}
)


@given(GIVEN, GIVEN, st.booleans())
def test_no_wait_is_longer_than_the_timeout_that_is_given(
    own: dict[str, float], router: dict[str, float], thinks_unasked: bool
) -> None:
    whole_s, first_token_s, idle_s = timeouts_of(
        AttemptTimeouts(**own), AttemptTimeouts(**router), thinks_unasked=thinks_unasked
    )

    given_s = own.get("timeout") or router.get("timeout")
    assert min(whole_s, first_token_s, idle_s) > 0
    assert given_s is None or (whole_s == given_s and max(first_token_s, idle_s) <= given_s)


def test_a_requests_own_timeouts_come_before_the_deployments() -> None:
    configured = builders.deployment(timeout_s=300, first_token_timeout_s=10, idle_timeout_s=20)

    def bounds(**wishes: Any) -> tuple[float, float, float]:
        patient = patient_with(configured, builders.chat_request(wishes=Wishes(**wishes)))
        return patient.timeout_s, patient.first_token_timeout_s, patient.idle_timeout_s

    assert bounds() == (300, 10, 20)
    assert bounds(timeout_s=5) == (5, 5, 5)
    assert bounds(timeout_s=400, stream_timeout_s=7) == (400, 7, 7)


def test_a_long_input_has_a_second_more_for_each_ten_thousand_tokens() -> None:
    configured = builders.deployment(first_token_timeout_s=10)
    messages = [{"role": "user", "content": "x" * 400_000}]

    assert patient_with(configured, builders.chat_request(messages=messages)).first_token_timeout_s == 20
    assert patient_with(configured, builders.chat_request()) is configured


def test_the_shipped_file_leaves_the_timeouts_to_the_models() -> None:
    deployments = parse(yaml.safe_load(SHIPPED.read_text())).deployments

    assert deployments["claude-sonnet"][0].first_token_timeout_s == 10
    assert deployments["gemini-pro"][0].first_token_timeout_s == 60
    assert deployments["gpt-4o"][0].first_token_timeout_s == 10


# --- what is known of a model ----------------------------------------------------------------------


def test_a_base_model_gives_its_prices_and_abilities() -> None:
    like_gpt_5 = deployed(model="openai/my-deployment", info={"base_model": "gpt-5"}).model
    gpt_5 = deployed(model="openai/gpt-5").model

    assert like_gpt_5 == replace(gpt_5, upstream_model="my-deployment")


def test_a_base_model_may_be_another_providers() -> None:
    claude = deployed(model="openai/claude", api_base="http://proxy.example/v1", info={"base_model": CLAUDE}).model

    assert claude.prices.output == 15


def test_limits_of_the_file_win_over_the_catalogs() -> None:
    model = deployed(info={"max_input_tokens": 1000, "max_tokens": 100}).model

    assert (model.max_input_tokens, model.max_output_tokens) == (1000, 100)
    assert deployed(info={"max_tokens": 100, "max_output_tokens": 50}).model.max_output_tokens == 50
    assert deployed().model.max_input_tokens == 128_000


def test_a_model_of_ones_own_may_have_limits() -> None:
    own = deployed(model="openai/mine", info={"max_input_tokens": 8192, **OWN_PRICE})

    assert own.model.max_input_tokens == 8192


def test_prices_may_stand_with_the_models_description() -> None:
    assert deployed(model="openai/mine", info=OWN_PRICE).model.prices.output == 2
    assert deployed(info=OWN_PRICE, input_cost_per_token=3e-6).model.prices.input == 3


@pytest.mark.parametrize("section", ["router_settings", "litellm_settings", "general_settings"])
def test_an_empty_section_is_as_none(section: str) -> None:
    assert parse({"model_list": [GPT], section: None}) == parse({"model_list": [GPT]})


@pytest.mark.parametrize("environment", [{}, {"NOPE": ""}], ids=["unset", "empty"])
@pytest.mark.parametrize(
    ("data", "path"),
    [
        (with_settings("general_settings", master_key="os.environ/NOPE"), "general_settings.master_key"),
        (with_settings("litellm_settings", max_budget="os.environ/NOPE"), "litellm_settings.max_budget"),
        (with_model(api_key="os.environ/NOPE"), "model_list[0].litellm_params.api_key"),
    ],
)
def test_a_variable_that_is_not_set_is_refused(data: Any, path: str, environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(data, environment)

    assert str(refused.value) == f"{path}: the variable NOPE is not set; set it, or leave the setting out"


@pytest.mark.parametrize("written", ["os.environ.NOPE", "os.environ['NOPE']", "os.environ/", "os.environ/NO PE"])
def test_what_only_looks_like_a_variable_is_refused(written: str) -> None:
    data = with_settings("general_settings", master_key=written)

    with pytest.raises(
        ConfigError, match=r"general_settings.master_key: .* names no variable; write `os.environ/NAME`"
    ):
        parse(data, {"NOPE": "sk-master-key"})


def test_a_variables_value_is_not_shown() -> None:
    data = with_model(model="os.environ/OPENAI_API_KEY")

    with pytest.raises(
        ConfigError, match=r"litellm_params.model: 'os.environ/OPENAI_API_KEY' is not accepted"
    ) as refused:
        parse(data, {"OPENAI_API_KEY": "sk-secret"})
    assert "sk-secret" not in str(refused.value)


def test_numbers_may_come_from_variables() -> None:
    settings = {"max_budget": "os.environ/BUDGET", "budget_exceeded_status_code": "os.environ/STATUS"}

    config = parse(with_settings("litellm_settings", **settings), {"BUDGET": "2.5", "STATUS": "402"})

    assert config.budget is not None
    assert (config.budget.max_budget, config.budget_exceeded_status) == (nano_usd(2.5), 402)


def test_users_and_end_users_have_budgets_where_the_file_says_so() -> None:
    settings = {"max_end_user_budget": 0.5, "max_internal_user_budget": 5, "internal_user_budget_duration": "1mo"}

    defaults = parse(with_settings("litellm_settings", **settings)).defaults

    assert (defaults.end_user_budget, defaults.end_user_budget_duration) == (nano_usd(0.5), None)
    assert (defaults.user_budget, defaults.user_budget_duration) == (nano_usd(5), "1mo")
    without = parse(with_settings("litellm_settings")).defaults
    assert (without.end_user_budget, without.user_budget) == (None, None)


def test_no_secret_is_shown() -> None:
    data = with_model(api_key="sk-secret") | {"general_settings": {"master_key": "sk-secret-master"}}

    assert "sk-secret" not in repr(parse(data))


def test_a_server_of_ones_own_never_sees_openais_key() -> None:
    own = with_model(model="openai/mine", api_base="http://vllm.example:8000/v1", **OWN_PRICE)

    deployment = parse(own).deployments["m"][0]
    assert (deployment.api_base, deployment.api_key) == ("http://vllm.example:8000/v1", "none")
    assert deployment.model.capabilities == {"compatible_server": True}


def test_a_server_of_ones_own_gets_the_key_that_is_given_for_it() -> None:
    own = with_model(model="openai/mine", api_base="http://vllm.example/v1", api_key="sk-vllm", **OWN_PRICE)

    assert parse(own).deployments["m"][0].api_key == "sk-vllm"


def test_another_address_of_openais_own_gets_its_key() -> None:
    regional = with_model(api_base="https://eu.api.openai.com/v1")

    assert parse(regional).deployments["m"][0].api_key == "sk-environment"


def test_a_known_model_keeps_its_abilities_at_another_address() -> None:
    proxied = with_model(model="openai/gpt-5", api_base="http://proxy.example/v1")

    assert parse(proxied).deployments["m"][0].model.capabilities["reasoning"] is True


def test_an_embedding_model_of_ones_own_needs_no_price_for_output() -> None:
    params = {"model": "openai/bge", "api_base": "http://vllm.example/v1", "input_cost_per_token": 1e-8}
    entry = {"model_name": "bge", "litellm_params": params, "model_info": {"mode": "embedding"}}

    assert parse({"model_list": [entry]}).deployments["bge"][0].model.mode == "embedding"


def test_the_catalog_says_what_a_model_is_for() -> None:
    deployment = parse(with_model(model="openai/text-embedding-3-small")).deployments["m"][0]

    assert deployment.model.mode == "embedding"


SANDBOX = {"openai": Credentials(api_key="sandbox", api_base="http://sandbox/v1")}


def offered_the_sandbox(*models: dict[str, Any], **environment: str) -> tuple[bool, list[Deployment]]:
    """Resolve models of OpenAI's wire where there is a sandbox; says whether it answers, too."""
    entries = [{"model_name": f"m{i}", "litellm_params": params} for i, params in enumerate(models)]
    config = parse_config(
        {"model_list": entries},
        catalog=load_catalog(),
        environment={},
        credentials={"openai": Credentials(**environment)},
        sandbox=SANDBOX,
    )
    return config.is_sandbox, [deployment for group in config.deployments.values() for deployment in group]


def test_without_any_key_the_sandbox_answers() -> None:
    is_sandbox, (deployment,) = offered_the_sandbox({"model": "openai/gpt-4o"})

    assert (is_sandbox, deployment.api_base, deployment.api_key) == (True, "http://sandbox/v1", "sandbox")


def test_an_address_in_the_environment_is_no_key() -> None:
    is_sandbox, (deployment,) = offered_the_sandbox({"model": "openai/gpt-4o"}, api_base="http://elsewhere")

    assert (is_sandbox, deployment.api_base) == (True, "http://sandbox/v1")


def test_a_key_in_the_file_goes_to_its_provider_and_never_to_the_sandbox() -> None:
    is_sandbox, (keyed, other) = offered_the_sandbox(
        {"model": "openai/gpt-4o", "api_key": "sk-mine"}, {"model": "openai/gpt-4o"}
    )

    assert (is_sandbox, keyed.api_key, keyed.api_base) == (False, "sk-mine", None)
    assert (other.api_key, other.api_base) == (None, None)


def test_a_server_of_ones_own_is_asked_rather_than_the_sandbox() -> None:
    is_sandbox, (deployment,) = offered_the_sandbox(
        {"model": "openai/mine", "api_base": "http://vllm.example/v1", **OWN_PRICE}
    )

    assert (is_sandbox, deployment.api_base, deployment.api_key) == (False, "http://vllm.example/v1", "none")


def test_the_sandbox_stands_in_at_no_address_of_the_files_own() -> None:
    is_sandbox, (regional,) = offered_the_sandbox(
        {"model": "openai/gpt-4o", "api_base": "https://eu.api.openai.com/v1"}
    )

    assert (is_sandbox, regional.api_base, regional.api_key) == (True, "https://eu.api.openai.com/v1", None)
