"""The configuration file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from events.money import nano_usd
from functions.bootstrap import load_catalog
from functions.gateway.config import Config, ConfigError, Credentials, parse_config
from functions.gateway.ports import Deployment

SHIPPED = Path(__file__).parents[2] / "infra" / "gateway.yaml"
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
        (with_model(tpm=5), "model_list[0].litellm_params.tpm: is not a known setting; known are model, api_key, "),
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
        (with_settings("litellm_settings", budget_duration="1y"), "budget_duration: '1y' is not accepted; write a who"),
        (with_settings("litellm_settings", budget_duration="999999w"), "budget_duration: '999999w' is not accepted"),
        (with_settings("litellm_settings", max_budget=-1), "litellm_settings.max_budget: -1 is not accepted; write a"),
        (with_settings("litellm_settings", max_budget=1e-10), "litellm_settings.max_budget: 1e-10 is not accepted"),
        (with_settings("litellm_settings", max_budget="1e999999"), "litellm_settings.max_budget: '1e999999' is not"),
        (with_settings("litellm_settings", max_budget=True), "litellm_settings.max_budget: True is not accepted"),
        (with_settings("litellm_settings", max_budget=None), "litellm_settings.max_budget: has no value; write one"),
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
