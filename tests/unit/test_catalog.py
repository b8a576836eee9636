"""What an answer costs."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.spend import Usage
from functions.bootstrap import load_catalog
from functions.gateway.catalog import cost_of
from tests.builders import model

CATALOG = load_catalog()
_TOKENS = st.integers(0, 500_000)


def test_a_million_tokens_in_cost_the_listed_price() -> None:
    assert cost_of(Usage(input_tokens=1_000_000), model(input="2.5")) == 2_500_000_000


def test_a_fraction_of_a_nano_dollar_is_rounded_up_once() -> None:
    assert cost_of(Usage(input_tokens=1, output_tokens=1), model(input="0.0001", output="0.0002")) == 1


def test_cached_tokens_are_inside_the_input_and_priced_apart() -> None:
    usage = Usage(input_tokens=1000, cache_read_tokens=600, cache_write_5m_tokens=100, cache_write_1h_tokens=100)
    sonnet = CATALOG.models["anthropic", "claude-sonnet-4-6"]

    assert cost_of(usage, sonnet) == 200 * 3000 + 600 * 300 + 100 * 3750 + 100 * 6000


def test_a_kind_without_a_price_costs_what_contains_it() -> None:
    assert cost_of(Usage(input_tokens=1000, cache_read_tokens=400), model(input="2.5")) == 2_500_000


def test_searches_that_the_provider_ran_are_billed_apart() -> None:
    assert cost_of(Usage(web_searches=3), CATALOG.models["anthropic", "claude-sonnet-4-6"]) == 3 * 10_000_000


def test_reasoning_is_inside_the_output_and_not_counted_twice() -> None:
    usage = Usage(output_tokens=100, reasoning_tokens=40)

    assert cost_of(usage, model(output="10")) == 1_000_000
    assert cost_of(usage, model(output="10", reasoning_output="20")) == 60 * 10_000 + 40 * 20_000


def test_audio_in_the_output_is_priced_apart() -> None:
    usage = Usage(output_tokens=100, audio_output_tokens=40)

    assert cost_of(usage, model(output="10")) == 1_000_000
    assert cost_of(usage, model(output="10", audio_output="80")) == 60 * 10_000 + 40 * 80_000


@pytest.mark.parametrize(("input_tokens", "price"), [(200_000, "1.25"), (200_001, "2.5")])
def test_long_context_prices_begin_after_their_limit(input_tokens: int, price: str) -> None:
    gemini = CATALOG.models["gemini", "gemini-2.5-pro"]

    assert cost_of(Usage(input_tokens=input_tokens), gemini) == input_tokens * Fraction(price) * 1000


@given(st.data(), st.sampled_from(sorted(CATALOG.models)))
def test_every_cost_is_the_exact_rational_rounded_up(data: st.DataObject, name: tuple[str, str]) -> None:
    total = data.draw(_TOKENS)
    cached = data.draw(st.integers(0, total))
    output = data.draw(_TOKENS)
    priced = CATALOG.models[name]
    prices = [tier for limit, tier in ((-1, priced.prices), *priced.long_context) if total > limit][-1]
    read = prices.input if prices.cache_read is None else prices.cache_read

    exact = (total - cached) * Fraction(prices.input) + cached * Fraction(read) + output * Fraction(prices.output)

    usage = Usage(input_tokens=total, cache_read_tokens=cached, output_tokens=output)
    assert cost_of(usage, priced) == math.ceil(exact * 1000)


@pytest.mark.parametrize("name", ["claude-sonnet-4-6", "gpt-4o", "gemini-2.5-pro", "gemini-2.5-flash-lite"])
def test_a_price_names_its_source(name: str) -> None:
    (entry,) = [entry for (_, upstream_model), entry in CATALOG.models.items() if upstream_model == name]

    assert entry.source.startswith("https://")
