"""Prices, limits and abilities of the models, and what an answer costs.

`catalog.json` was taken from the providers' public pages; each entry names its page, `as_of` is its date.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from events.money import NanoUsd
from events.spend import Usage

Mode = Literal["chat", "embedding"]

_NANO_PER_TOKEN = 1000  # USD per 1M tokens × 1000 = nano-USD per token


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """USD per 1M tokens, by kind. `None`: billed as the kind that contains it (input, output)."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    reasoning_output: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is known about one upstream model. `long_context` prices hold when the input is over so many tokens."""

    upstream_model: str
    prices: Prices
    mode: Mode = "chat"
    long_context: tuple[tuple[int, Prices], ...] = ()
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    capabilities: Mapping[str, Any] = field(default_factory=dict[str, Any])
    source: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All models by `(provider, id)`. `version` is the date of its prices and goes into every spend event."""

    version: str
    models: Mapping[tuple[str, str], Model]


def parse_catalog(data: Mapping[str, Any]) -> Catalog:
    """Read the catalog's JSON object."""
    models = {(entry["provider"], entry["id"]): _model(entry) for entry in data["models"]}
    return Catalog(version=data["as_of"], models=models)


def cost_of(usage: Usage, model: Model) -> NanoUsd:
    """Price one answer, exactly, in nano-USD.

    `tokens × price × 1000`, summed over the kinds and rounded up once. Reasoning tokens are inside
    `output_tokens`, cached and audio ones inside `input_tokens`; none is counted twice. Long-context prices
    apply to the whole answer once the input passes their limit.

    Sources: the page named by the model's catalog entry, and for the cache's kinds
    https://platform.claude.com/docs/en/about-claude/pricing (writes for 5 min and 1 h differ).
    """
    prices = model.prices
    for limit, tier in model.long_context:
        if usage.input_tokens > limit:
            prices = tier
    split_input = (
        (usage.cache_read_tokens, prices.cache_read),
        (usage.cache_write_5m_tokens, prices.cache_write_5m),
        (usage.cache_write_1h_tokens, prices.cache_write_1h),
        (usage.audio_input_tokens, prices.audio_input),
    )
    total = usage.input_tokens * prices.input + usage.output_tokens * prices.output
    for tokens, price in split_input:
        if price is not None:
            total += tokens * (price - prices.input)
    split_output = (
        (usage.reasoning_tokens, prices.reasoning_output),
        (usage.audio_output_tokens, prices.audio_output),
    )
    for tokens, price in split_output:
        if price is not None:
            total += tokens * (price - prices.output)
    return NanoUsd(math.ceil(total * _NANO_PER_TOKEN))


def _model(entry: Mapping[str, Any]) -> Model:
    base = _decimals(entry["usd_per_1m"])
    above: Mapping[str, Any] = entry.get("usd_per_1m_when_prompt_over", {})
    tiers = sorted((int(limit), base | _decimals(usd_per_1m)) for limit, usd_per_1m in above.items())
    return Model(
        upstream_model=entry["id"],
        prices=_prices(base),
        mode=entry.get("mode", "chat"),
        long_context=tuple((limit, _prices(tier)) for limit, tier in tiers),
        max_input_tokens=entry.get("max_input_tokens"),
        max_output_tokens=entry.get("max_output_tokens"),
        capabilities=entry.get("capabilities", {}),
        source=entry.get("source", ""),
    )


def _decimals(usd_per_1m: Mapping[str, Any]) -> dict[str, Decimal]:
    return {kind: Decimal(str(price)) for kind, price in usd_per_1m.items()}


def _prices(usd_per_1m: Mapping[str, Decimal]) -> Prices:
    kinds = {"output": Decimal(0), **usd_per_1m}
    return Prices(**{kind: price for kind, price in kinds.items() if kind in Prices.__slots__})
