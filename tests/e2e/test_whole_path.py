"""The whole path with real processes: clients, functions, bus, store, webhook, on both backends."""

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

import httpx2
import openai
import pytest

from tests.e2e.stack import ROOT, Stack, wait_for

# Prices of the default models, USD per token in and out, from their providers' pages.
PRICES = {
    "anthropic/claude-sonnet-4-6": (3e-6, 15e-6),
    "openai/gpt-4o": (2.5e-6, 10e-6),
    "gemini/gemini-2.5-pro": (1.25e-6, 10e-6),
    "gemini/gemini-2.5-flash-lite": (0.1e-6, 0.4e-6),
    "openai/text-embedding-3-small": (0.02e-6, 0),
    "gemini/gemini-embedding-001": (0.15e-6, 0),
}
MODELS = ["claude-sonnet", "gpt-4o", "gemini-pro", "gemini-flash"]
EMBEDDING_MODELS = ["text-embedding-3-small", "gemini-embedding-001"]
ALL_MODELS = [*MODELS, *EMBEDDING_MODELS]


def client_of(stack: Stack, path: str = "/v1") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{stack.url}{path}", api_key="sk-anything", max_retries=0, timeout=30)


def billed(stack: Stack) -> float:
    """What the sandbox would have charged, in USD."""
    return sum(
        entry["input_tokens"] * PRICES[name][0] + entry["output_tokens"] * PRICES[name][1]
        for name, entry in stack.sandbox("/bill").items()
    )


def spent(stack: Stack) -> float:
    return stack.get("/global/spend")["spend"]


def is_folded(stack: Stack) -> bool:
    return spent(stack) == pytest.approx(billed(stack), abs=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_the_stock_client_gets_a_whole_answer_from_every_provider(stack: Stack, model: str) -> None:
    with client_of(stack) as client:
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Say hello"}])

    assert answer.choices[0].message.content is not None
    assert answer.choices[0].message.content.endswith("You said: Say hello")
    assert answer.model == model
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("model", MODELS)
def test_a_streamed_answer_equals_the_whole_one(stack: Stack, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Say hello"}]}
    with client_of(stack) as client:
        whole = client.chat.completions.create(**asked)
        with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
            for _ in stream:
                pass
            streamed = stream.get_final_completion()

    assert streamed.choices[0].message.content == whole.choices[0].message.content
    assert streamed.choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert streamed.usage == whole.usage


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_conversation_with_a_tool_works_on_every_wire(stack: Stack, model: str, is_stream: bool) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Use the tool for Paris."},
    ]
    with client_of(stack) as client:
        if is_stream:
            with client.chat.completions.stream(model=model, messages=messages, tools=tools) as stream:
                for _ in stream:
                    pass
                message = stream.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0].message
        assert message.tool_calls is not None
        (call,) = message.tool_calls
        echoed: Any = {
            "role": "assistant",
            "content": message.content,
            "tool_calls": [call.model_dump(exclude_none=True)],
        }
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}
        answer = client.chat.completions.create(model=model, messages=[*messages, echoed, result], tools=tools)

    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "example"})
    assert "21 degrees" in (answer.choices[0].message.content or "")


def test_the_client_works_without_v1_as_well(stack: Stack) -> None:
    with client_of(stack, "") as client:
        answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])

    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("fault", ["429", "500", "529", "reset", "html"])
def test_a_failure_of_the_first_falls_back_to_the_next(stack: Stack, fault: str, is_stream: bool) -> None:
    answer = stack.chat(f"Hello [sandbox: anthropic={fault}]", stream=is_stream)

    assert answer.status_code == 200
    assert "[sandbox openai gpt-4o]" in answer.text or '"content":"[sandbox"' in answer.text
    assert answer.headers["x-litellm-attempted-fallbacks"] == "1"
    assert answer.headers["x-gateway-attempts"].endswith("openai/gpt-4o=200")


def test_the_chain_goes_on_to_the_third(stack: Stack) -> None:
    answer = stack.chat("Hello [sandbox: anthropic=529 openai=reset]")

    assert answer.json()["model"] == "gemini-2.5-pro"
    assert answer.headers["x-litellm-attempted-fallbacks"] == "2"


def test_when_all_fail_every_attempt_is_said(stack: Stack) -> None:
    answer = stack.chat("Hello [sandbox: anthropic=529 openai=500 gemini=503]")

    assert answer.status_code == 503
    said = [(attempt["model"], attempt["status"]) for attempt in answer.json()["error"]["attempts"]]
    assert said == [
        ("anthropic/claude-sonnet-4-6", "529"),
        ("openai/gpt-4o", "500"),
        ("openai/gpt-4o", "500"),  # a fault of the moment is worth a second try, an overload is not
        ("gemini/gemini-2.5-pro", "503"),
    ]


def test_every_answer_and_every_error_bears_the_call_id(stack: Stack) -> None:
    url, mine = f"{stack.url}/v1/chat/completions", {"x-litellm-call-id": "my-call-1"}
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}

    answered = httpx2.post(url, json=asked, headers=mine, timeout=30)
    refused = httpx2.post(url, json={**asked, "model": "gpt-17"}, headers=mine)
    unnamed = httpx2.post(url, json=[])

    assert [answer.headers["x-litellm-call-id"] for answer in (answered, refused)] == ["my-call-1"] * 2
    assert len(unnamed.headers["x-litellm-call-id"]) == 36


def test_an_unknown_model_is_answered_with_the_list(stack: Stack) -> None:
    answer = stack.chat(model="gpt-17")

    assert answer.status_code == 404
    assert answer.json()["error"]["models"] == sorted(ALL_MODELS)


@pytest.mark.parametrize("model", EMBEDDING_MODELS)
def test_the_stock_client_gets_embeddings_that_are_billed(stack: Stack, model: str) -> None:
    before = stack.get("/global/spend")["spend"]

    with client_of(stack) as client:
        answer = client.embeddings.create(model=model, input=["Say hello " * 100, "Say goodbye"], dimensions=8)

    assert [len(entry.embedding) for entry in answer.data] == [8, 8]
    assert answer.data[0].embedding != answer.data[1].embedding
    assert answer.usage.prompt_tokens > 0
    assert wait_for(lambda: stack.get("/global/spend")["spend"] > before)


def test_spend_is_visible_within_two_seconds(stack: Stack) -> None:
    wait_for(lambda: is_folded(stack))
    before = spent(stack)

    cost = float(stack.chat("Say hello").headers["x-litellm-response-cost"])
    answered = time.monotonic()
    wait_for(lambda: spent(stack) == pytest.approx(before + cost, abs=1e-9), within_s=2)

    assert time.monotonic() - answered < 2


def test_health_names_the_models_and_the_sandbox(stack: Stack) -> None:
    health = stack.get("/health")

    assert (health["status"], health["models"]) == ("healthy", ALL_MODELS)
    assert "sandbox" in health
    assert stack.get("/health/readiness") == {"status": "healthy", "db": "connected"}
    assert [model["id"] for model in stack.get("/v1/models")["data"]] == ALL_MODELS


async def _load(stack: Stack, requests: int) -> list[int]:
    limits = httpx2.Limits(max_connections=16)
    async with httpx2.AsyncClient(timeout=60, limits=limits) as client:

        async def one(number: int) -> int:
            url = f"http://127.0.0.1:{stack.port + number % 2}/v1/chat/completions"
            body = {"model": MODELS[number % 4], "messages": [{"role": "user", "content": f"Request {number}"}]}
            return (await client.post(url, json=body)).status_code

        return list(await asyncio.gather(*(one(number) for number in range(requests))))


async def test_killing_the_fold_under_load_loses_nothing_and_counts_nothing_twice(stack: Stack) -> None:
    load = asyncio.create_task(_load(stack, 300))
    for _ in range(3):
        folded = spent(stack)
        await asyncio.to_thread(stack.kill, "fold_spend")
        await asyncio.to_thread(wait_for, lambda folded=folded: is_folded(stack) or spent(stack) > folded)

    assert set(await load) == {200}
    await asyncio.to_thread(wait_for, lambda: is_folded(stack), within_s=90)


def test_alerts_reach_the_webhook_once_for_each_threshold(stack: Stack) -> None:
    wait_for(lambda: "budget_exceeded" in stack.chat("[sandbox: tokens=99000]", max_tokens=99_000).text, within_s=60)

    wait_for(lambda: len(stack.sandbox("/alerts")) >= 4)
    alerts = {alert["threshold_percent"]: alert for alert in stack.sandbox("/alerts")}
    assert sorted(alerts) == [50, 80, 95, 100]
    assert {alert["alert_type"] for alert in alerts.values()} == {"budget_alerts"}
    assert [alerts[percent]["event"] for percent in (95, 100)] == ["threshold_crossed", "budget_crossed"]


def test_over_the_budget_a_request_is_refused_until_the_window_ends(stack: Stack) -> None:
    wait_for(lambda: "budget_exceeded" in stack.chat("Once more").text)
    refused = stack.chat("Once more")

    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("budget_exceeded", "budget_exceeded")
    assert refused.headers["x-should-retry"] == "false"
    assert error["budget_reset_at"].endswith("T00:00:00Z")


def test_a_replay_of_the_ledger_gives_the_same_counters(stack: Stack) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "functions.replay"],
        cwd=ROOT,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "1 counters replayed, 0 differ\n"), done.stderr
