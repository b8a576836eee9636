"""What is known of a deployment's model: the catalog's entry, with what the file says on top of it."""

from dataclasses import replace
from decimal import Decimal

from functions.gateway.catalog import Catalog, Model, Prices
from functions.gateway.settings import PROVIDERS, LitellmParams, ModelEntry, ModelInfo, first_given

_PER_1M = 1_000_000


class UnknownModel(Exception):
    """Nothing is known of the model that an answer could be priced by. The message begins with the setting's path."""


def known_model(entry: ModelEntry, catalog: Catalog) -> Model:
    """Take the catalog's entry, or its `base_model`'s; the file's own prices and limits win. Raises `UnknownModel`."""
    params, info = entry.litellm_params, entry.model_info
    model = _in_catalog(params, info, catalog)
    mode = info.mode or (model.mode if model else "chat")
    if prices := _prices(params, info, mode):
        model = replace(model or _unheard_of(params, prices), prices=prices, long_context=())
    if model is None:
        raise UnknownModel(
            f"litellm_params.model: {params.model} has no known price; "
            "add input_cost_per_token and output_cost_per_token (USD) beside it"
        )
    return replace(
        model,
        mode=mode,
        max_input_tokens=info.max_input_tokens or model.max_input_tokens,
        max_output_tokens=info.max_output_tokens or info.max_tokens or model.max_output_tokens,
    )


def _in_catalog(params: LitellmParams, info: ModelInfo, catalog: Catalog) -> Model | None:
    if info.base_model is None:
        return catalog.models.get((params.provider, params.upstream_model))
    provider, _, name = info.base_model.partition("/")
    key = (provider, name) if provider in PROVIDERS else (params.provider, info.base_model)
    if key not in catalog.models:
        raise UnknownModel(
            f"model_info.base_model: {info.base_model!r} is not in the catalog; write `provider/model` of one that is, "
            "or leave it out and add input_cost_per_token and output_cost_per_token (USD)"
        )
    return replace(catalog.models[key], upstream_model=params.upstream_model)


def _prices(params: LitellmParams, info: ModelInfo, mode: str) -> Prices | None:
    """Give the file's own prices, if it has them; embeddings have no output."""
    input_cost = first_given(params.input_cost_per_token, info.input_cost_per_token)
    output_cost = first_given(params.output_cost_per_token, info.output_cost_per_token)
    if mode == "embedding":
        output_cost = Decimal(0)
    if input_cost is None or output_cost is None:
        return None
    cached = first_given(params.cache_read_input_token_cost, info.cache_read_input_token_cost)
    return Prices(
        input=input_cost * _PER_1M,
        output=output_cost * _PER_1M,
        cache_read=None if cached is None else cached * _PER_1M,
    )


def _unheard_of(params: LitellmParams, prices: Prices) -> Model:
    """Describe a model of which only the price is known; at an own address, its server knows what it takes."""
    capabilities = {"compatible_server": True} if params.api_base else {}
    return Model(upstream_model=params.upstream_model, prices=prices, capabilities=capabilities)
