"""What is served: `GET /v1/models`, `/v1/models/{id}` and `/v1/model/info`."""

from collections.abc import Sequence
from typing import Any

from functions.gateway.access import ModelList, usable_models
from functions.gateway.config import Config
from functions.gateway.errors import ModelNotFound
from functions.gateway.ports import Deployment

_CREATED = 1_677_610_602  # LiteLLM's constant; OpenAI's clients want a number, and nobody knows a better one


def list_models(config: Config, models: Sequence[ModelList] = ()) -> dict[str, Any]:
    """Give OpenAI's list of the aliases; of those that are on all lists of `models`."""
    return {"object": "list", "data": [_entry(alias, config) for alias in usable_models(models, config.deployments)]}


def one_model(config: Config, alias: str, models: Sequence[ModelList] = ()) -> dict[str, Any]:
    """Give one alias. Raises `ModelNotFound`."""
    usable = usable_models(models, config.deployments)
    if alias not in usable:
        raise ModelNotFound(alias, sorted(usable))
    return _entry(alias, config)


def model_info(config: Config, models: Sequence[ModelList] = ()) -> dict[str, Any]:
    """Give LiteLLM's description of every deployment: upstream, limits, prices in USD per token; never a key."""
    usable = usable_models(models, config.deployments)
    return {"data": [_info(deployment) for alias in usable for deployment in config.deployments[alias]]}


def _entry(alias: str, config: Config) -> dict[str, Any]:
    first = config.deployments[alias][0]
    return {
        "id": alias,
        "object": "model",
        "created": _CREATED,
        "owned_by": first.provider,
        "mode": first.model.mode,
        "max_input_tokens": first.model.max_input_tokens,
        "max_output_tokens": first.model.max_output_tokens,
    }


def _info(deployment: Deployment) -> dict[str, Any]:
    model = deployment.model
    return {
        "model_name": deployment.group,
        "litellm_params": {"model": deployment.name},
        "model_info": {
            "id": deployment.model_id,
            "mode": model.mode,
            "key": deployment.upstream_model,
            "litellm_provider": deployment.provider,
            "max_input_tokens": model.max_input_tokens,
            "max_output_tokens": model.max_output_tokens,
            "input_cost_per_token": float(model.prices.input) / 1e6,
            "output_cost_per_token": float(model.prices.output) / 1e6,
            **{f"supports_{name}": able for name, able in model.capabilities.items() if isinstance(able, bool)},
        },
    }
