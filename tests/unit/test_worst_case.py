"""What a request may cost at most."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.money import NanoUsd, nano_usd
from events.spend import Usage
from functions.gateway.catalog import cost_of
from functions.gateway.ports import Deployment
from functions.gateway.worst_case import WorstCase, with_at_most, worst_case
from tests.builders import chat_request, deployment, embedding_request, model

CHEAP = deployment(model=model(input="1", output="2"))
DEAR = deployment("anthropic", model=model(input="3", output="15", cache_write_1h="6"))


def worst(*chain: Deployment, times: int = 1, **body: Any) -> WorstCase:
    return worst_case(chat_request(**body), chain or (CHEAP,), times=times)


def cost(*chain: Deployment, **body: Any) -> int:
    found = worst(*chain, **body)
    return found.cost(found.max_tokens)


def saying(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


TEXTS = st.lists(st.text(max_size=40), min_size=1, max_size=4)


@given(texts=TEXTS, max_tokens=st.integers(1, 500), answer=st.floats(0, 1), cached=st.booleans())
def test_no_answer_costs_more(texts: list[str], max_tokens: int, answer: float, cached: bool) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    read = sum(len(text.encode(errors="surrogatepass")) for text in texts)  # not even one byte a token is exceeded
    usage = Usage(
        input_tokens=read, cache_write_1h_tokens=read if cached else 0, output_tokens=int(max_tokens * answer)
    )
    marks = {"cache_control": {"type": "ephemeral", "ttl": "1h"}} if cached else {}

    assert cost_of(usage, DEAR.model) <= cost(CHEAP, DEAR, messages=messages, max_tokens=max_tokens, **marks)


def test_the_dearest_of_the_chain_counts() -> None:
    assert cost(CHEAP, DEAR, max_tokens=100) == cost(DEAR, max_tokens=100) > cost(CHEAP, max_tokens=100)


def test_without_a_limit_an_answer_is_as_long_as_the_model_can() -> None:
    limited = deployment(model=replace(model(), max_output_tokens=500))

    assert worst(limited).max_tokens == 500
    assert cost(limited) == cost(limited, max_tokens=500)


def test_without_a_limit_claude_is_asked_for_less_than_it_can() -> None:
    claude = deployment("anthropic", model=replace(model(), max_output_tokens=128_000))

    assert worst(claude).max_tokens == 32_768
    assert worst(claude, thinking={"type": "enabled", "budget_tokens": 50_000}).max_tokens == 66_384
    assert worst(claude, max_tokens=100_000).max_tokens == 100_000


def test_a_limit_over_the_models_own_is_the_models_own() -> None:
    limited = deployment(model=replace(model(), max_output_tokens=500))

    assert cost(limited, max_tokens=10_000) == cost(limited, max_completion_tokens=500)


def test_each_answer_of_several_is_paid() -> None:
    per_token = cost(max_tokens=101) - cost(max_tokens=100)

    assert cost(max_tokens=101, n=3) - cost(max_tokens=100, n=3) == 3 * per_token == 3 * nano_usd(0.000002)


def test_attempts_beside_each_other_are_both_paid() -> None:
    assert worst(times=2, max_tokens=100).cost(100) == 2 * cost(max_tokens=100)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": saying({"type": "file", "file": {"file_id": "file-1"}})},
        {"messages": saying({"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}})},
        {"web_search_options": {}},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    ],
)
def test_what_is_not_in_the_request_fills_the_window(body: dict[str, Any]) -> None:
    windowed = deployment(model=model(input="1", output="2", max_input_tokens=200_000))

    assert cost(windowed, max_tokens=1, **body) >= nano_usd(0.2)


def test_an_image_counts_as_an_image_and_not_by_its_bytes() -> None:
    def showing(url: str) -> int:
        return cost(messages=saying({"type": "image_url", "image_url": {"url": url}}), max_tokens=1)

    assert showing("https://example.com/a.png") == showing("data:image/png;base64," + "A" * 10**6) > cost(max_tokens=1)


def test_a_prompt_over_a_models_limit_has_that_tiers_price() -> None:
    prices = model(input="1", output="2")
    tiered = replace(prices, long_context=((5_000, replace(prices.prices, input=Decimal(4), output=Decimal(8))),))
    long = [{"role": "user", "content": "x" * 6_000}]

    assert cost(deployment(model=tiered), messages=long, max_tokens=1) > nano_usd(0.024)
    assert cost(deployment(model=tiered), max_tokens=1) < nano_usd(0.005)


def test_embeddings_cost_their_input() -> None:
    free_output = deployment(model=model(input="1", output="0", mode="embedding"))
    found = worst_case(embedding_request(input=["x" * 50, "x" * 50]), [free_output])

    assert nano_usd(0.0001) <= found.cost(found.max_tokens) <= nano_usd(0.00011)
    assert not found.can_be_lowered


def test_a_request_that_costs_nothing_still_needs_a_budget() -> None:
    assert cost(deployment(model=model(input="0", output="0"))) == 1


@given(amount=st.integers(0, 10**9).map(NanoUsd), times=st.integers(1, 2))
def test_what_is_affordable_can_be_paid_and_one_token_more_not(amount: NanoUsd, times: int) -> None:
    found = worst(CHEAP, DEAR, times=times, max_tokens=10_000)
    tokens = found.affordable_tokens(amount)

    if tokens >= 0:
        assert found.cost(tokens) <= max(1, amount)
    if 0 <= tokens < 10_000:
        assert found.cost(tokens + 1) > amount


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_is_lowered_where_it_was_given(name: str) -> None:
    body: dict[str, Any] = {name: 100}

    assert with_at_most(chat_request(**body), 20).body[name] == 20


def test_a_limit_that_was_not_given_is_set() -> None:
    assert with_at_most(chat_request(), 20).body["max_tokens"] == 20


LONG = deployment(model=replace(model(input="1", output="2"), max_output_tokens=50_000))


@given(left=st.integers(0, 10**10).map(NanoUsd))
def test_without_a_limit_an_answer_holds_a_fair_share_of_what_is_left(left: NanoUsd) -> None:
    found = worst(LONG)
    tokens = found.fair_tokens(left)

    assert 4096 <= tokens <= 50_000
    assert tokens == 4096 or found.cost(tokens) * 32 <= left
    assert tokens == 50_000 or found.cost(tokens + 1) * 32 > left


@given(left=st.integers(0, 10**10).map(NanoUsd), asked=st.integers(1, 60_000))
def test_with_a_limit_an_answer_holds_what_it_asks_for(left: NanoUsd, asked: int) -> None:
    assert worst(LONG, max_tokens=asked).fair_tokens(left) == min(asked, 50_000)


def test_what_a_model_may_think_comes_on_top_of_what_is_enough() -> None:
    thinking = {"type": "enabled", "budget_tokens": 10_000}

    assert worst(LONG, thinking=thinking).fair_tokens(NanoUsd(0)) == 14_096


@given(unspent=st.integers(0, 10**9).map(NanoUsd), asked=st.integers(1, 9_000))
def test_an_answer_is_shortened_to_no_less_than_half_of_what_is_not_spent(unspent: NanoUsd, asked: int) -> None:
    found = worst(LONG, max_tokens=asked)
    least = found.least_tokens(unspent)

    assert min(asked, 16) <= least <= min(asked, 2048)
    assert least == min(asked, 16) or found.cost(2 * least) <= unspent


def test_what_can_not_be_lowered_is_not_lowered() -> None:
    found = worst_case(embedding_request(), [CHEAP])

    assert found.fair_tokens(NanoUsd(0)) == found.least_tokens(NanoUsd(0)) == found.max_tokens
    assert found.least_cost == found.cost(found.max_tokens)


CLAUDE = deployment("anthropic", model=model(input="3", output="15", cache_write_5m="4", cache_write_1h="6"))
MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
PLAIN: dict[str, Any] = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def said(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "x" * 1000, **fields}]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": said(), **MARK},
        {"messages": said(**MARK)},
        {"messages": saying({"type": "text", "text": "x" * 1000, **MARK})},
        {"messages": [*said(), {"role": "assistant", "content": None, "tool_calls": [{**CALL, **MARK}]}]},
        {"messages": said(), "tools": [{**PLAIN, **MARK}]},
        {"messages": said(), "tools": [{**PLAIN, "function": {**PLAIN["function"], **MARK}}]},
    ],
)
def test_what_is_marked_to_be_cached_is_paid_as_written(body: dict[str, Any]) -> None:
    assert cost(CLAUDE, max_tokens=1, **body) >= 1000 * nano_usd(0.000006)


def test_what_is_not_marked_to_be_cached_is_paid_as_read() -> None:
    assert cost(CLAUDE, max_tokens=1, messages=said(), tools=[PLAIN]) <= 2400 * nano_usd(0.000003)


def test_who_caches_unasked_is_paid_for_it() -> None:
    writer = deployment(model=model(input="3", output="15", cache_write_5m="4"))

    assert cost(writer, max_tokens=1, messages=said()) >= 1000 * nano_usd(0.000004)


HEARING = deployment("gemini", model=model(input="1", output="2", audio_input="7"))


@pytest.mark.parametrize(
    "messages",
    [
        saying(
            {"type": "text", "text": "x" * 1000}, {"type": "input_audio", "input_audio": {"data": "", "format": "mp3"}}
        ),
        saying({"type": "file", "file": {"file_data": "data:audio/mp3;base64," + "x" * 1000}}),
        [*said(), {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}],
    ],
)
def test_where_there_may_be_sound_its_price_counts(messages: list[dict[str, Any]]) -> None:
    assert cost(HEARING, max_tokens=1, messages=messages) >= 1000 * nano_usd(0.000007)


def test_where_there_is_no_sound_its_price_does_not_count() -> None:
    assert cost(HEARING, max_tokens=1, messages=said()) <= 1200 * nano_usd(0.000001)
    assert worst_case(embedding_request(input="x" * 1000), [HEARING]).cost(0) <= 1000 * nano_usd(0.000001)
