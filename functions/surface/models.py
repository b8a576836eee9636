"""What is served: `GET /v1/models`, `/v1/models/{id}` and `/v1/model/info`."""

from typing import Any

from functions.gateway.config import Config
from functions.gateway.errors import ModelNotFound
from functions.gateway.ports import Deployment

_CREATED = 1_677_610_602  # LiteLLM's constant; OpenAI's clients want a number, and nobody knows a better one


def list_models(config: Config) -> dict[str, Any]:
    """Give OpenAI's list of the aliases."""
    return {"object": "list", "data": [_entry(alias, config) for alias in config.deployments]}


def one_model(config: Config, alias: str) -> dict[str, Any]:
    """Give one alias. Raises `ModelNotFound`."""
    if alias not in config.deployments:
        raise ModelNotFound(alias, sorted(config.deployments))
    return _entry(alias, config)


def model_info(config: Config) -> dict[str, Any]:
    """Give LiteLLM's description of every deployment: upstream, limits, prices in USD per token; never a key."""
    return {"data": [_info(deployment) for group in config.deployments.values() for deployment in group]}


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
