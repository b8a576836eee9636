"""The configuration file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from events.money import nano_usd
from functions.bootstrap import load_catalog
from functions.gateway.config import Config, ConfigError, Credentials, parse_config

SHIPPED = Path(__file__).parents[2] / "infra" / "gateway.yaml"
GPT = {"model_name": "gpt-4o", "litellm_params": {"model": "openai/gpt-4o"}}


def parse(data: Any, environment: Mapping[str, str] | None = None) -> Config:
    credentials = {"openai": Credentials(api_key="sk-environment", api_base="http://environment")}
    return parse_config(data, catalog=load_catalog(), environment=environment or {}, credentials=credentials)


def with_model(**params: Any) -> dict[str, Any]:
    return {"model_list": [{"model_name": "m", "litellm_params": {"model": "openai/gpt-4o", **params}}]}


def test_the_shipped_file_serves_the_chain_with_ten_dollars_a_day() -> None:
    config = parse(yaml.safe_load(SHIPPED.read_text()))

    assert config.fallbacks["claude-sonnet"] == ("gpt-4o", "gemini-pro")
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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "the file: Input should be"),
        ({"model_list": []}, "model_list: "),
        ({"model_list": [GPT], "router": {}}, "router: is not a known setting"),
        (with_model(tpm=5), r"^model_list\[0\].litellm_params.tpm: is not a known setting$"),
        (with_model(timeout="long"), r"model_list\[0\].litellm_params.timeout: Input should be a valid number"),
        (with_model(model="gpt-4o"), "'gpt-4o' must be `provider/model`; providers are openai, anthropic, gemini"),
        ({"model_list": [GPT], "router_settings": {"fallbacks": [{"gpt-4o": ["x"]}]}}, "'x' is no model_name"),
        ({"model_list": [GPT], "litellm_settings": {"budget_duration": "1y"}}, "unknown duration '1y'"),
        ({"model_list": [GPT], "litellm_settings": {"max_budget": -1}}, "litellm_settings.max_budget: "),
        ({"model_list": [GPT], "general_settings": {"budget_alert_thresholds": [0]}}, "budget_alert_thresholds"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_path(data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(data)


def test_a_request_has_ten_minutes_unless_the_file_says_otherwise() -> None:
    hasty = {"model_list": [GPT], "litellm_settings": {"request_timeout": 30}}

    assert parse({"model_list": [GPT]}).request_timeout_s == 600
    assert parse(hasty).request_timeout_s == 30


def test_no_secret_is_shown() -> None:
    data = with_model(api_key="sk-secret") | {"general_settings": {"master_key": "sk-secret-master"}}

    assert "sk-secret" not in repr(parse(data))


OWN_PRICE = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}


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
