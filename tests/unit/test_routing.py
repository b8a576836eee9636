"""Chains, verdicts and the walk."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from events.spend import Attempt
from functions.gateway.errors import AllModelsFailed, BadRequest, ModelNotFound, UpstreamError
from functions.gateway.ports import Deployment
from functions.gateway.routing import resolve, walk_chain
from functions.gateway.verdicts import Verdict, judge
from tests.builders import chat_request, deployment

SONNET = deployment("anthropic", "claude-sonnet-4-6", group="claude-sonnet")
GPT = deployment("openai", "gpt-4o")
GEMINI = deployment("gemini", "gemini-2.5-pro", group="gemini-pro")
GROUPS = {"claude-sonnet": (SONNET,), "gpt-4o": (GPT,), "gemini-pro": (GEMINI,)}
FALLBACKS = {"claude-sonnet": ("gpt-4o", "gemini-pro")}


async def walk(script: dict[str, Any], chain: list[Deployment] | None = None) -> tuple[str, list[Attempt]]:
    async def ask(asked: Deployment) -> str:
        outcome = script[asked.provider]
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome) if isinstance(outcome, str) else await outcome()

    attempts: list[Attempt] = []
    served = await walk_chain(
        chain or [SONNET, GPT, GEMINI],
        ask,
        patience=lambda asked: asked.timeout_s,
        clock=asyncio.get_running_loop().time,
        deadline=asyncio.get_running_loop().time() + 60,
        attempts=attempts,
    )
    return served.answer, attempts


def test_a_chain_is_the_group_and_then_its_fallbacks() -> None:
    assert resolve(chat_request("claude-sonnet"), GROUPS, FALLBACKS) == [SONNET, GPT, GEMINI]


def test_an_unknown_model_is_refused_with_the_list_of_models() -> None:
    with pytest.raises(ModelNotFound, match=r"'gpt-5' not found\. Use one of: claude-sonnet, gemini-pro, gpt-4o"):
        resolve(chat_request("gpt-5"), GROUPS, FALLBACKS)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529, 401, 403, 404, "timeout", "connection_error"])
async def test_a_failure_of_the_upstream_falls_back(status: int | str) -> None:
    answer, attempts = await walk({"anthropic": UpstreamError(status, "no"), "openai": "hello"})

    assert answer == "hello"
    assert [(a.model, a.status, a.billed) for a in attempts] == [
        ("anthropic/claude-sonnet-4-6", str(status), False),
        ("openai/gpt-4o", "200", True),
    ]


async def test_an_attempt_that_takes_too_long_falls_back() -> None:
    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    hasty = deployment("anthropic", "claude-sonnet-4-6", timeout_s=0.01)
    _, attempts = await walk({"anthropic": hang, "openai": "hello"}, [hasty, GPT])

    assert [a.status for a in attempts] == ["timeout", "200"]


async def test_when_everyone_failed_every_attempt_is_said() -> None:
    failures = {name: UpstreamError(status, "no") for name, status in (("anthropic", 529), ("openai", 503))}

    with pytest.raises(AllModelsFailed) as failed:
        await walk({**failures, "gemini": UpstreamError("timeout", "no")})

    assert [a["status"] for a in failed.value.details["attempts"]] == ["529", "503", "timeout"]


async def test_the_clients_own_fault_is_not_tried_elsewhere() -> None:
    fault = UpstreamError(400, "temperature is too high", code="invalid_value", param="temperature")

    with pytest.raises(BadRequest, match="claude-sonnet-4-6 refused the request: temperature is too high") as refused:
        await walk({"anthropic": fault})

    assert refused.value.param == "temperature"


def _recorded_errors(cassettes: Path) -> list[dict[str, Any]]:
    errors = json.loads((cassettes / "errors.json").read_text())["errors"]
    return [error for error in errors if error["phase"] == "response" and isinstance(error.get("body"), dict)]


def test_recorded_errors_are_judged_as_what_they_are(cassettes: Path) -> None:
    """A momentary fault and one of our account fall back; the client is told only of its own."""
    wrong: list[str] = []
    for recorded in _recorded_errors(cassettes):
        inner: dict[str, Any] = recorded["body"]["error"]
        details: list[dict[str, Any]] = inner.get("details") or []
        reason: str | None = next((detail["reason"] for detail in details if "reason" in detail), None)
        error = UpstreamError(
            recorded["status"],
            inner.get("message", ""),
            kind=inner.get("status") or inner.get("type"),
            code=reason or (inner["code"] if isinstance(inner.get("code"), str) else None),
        )
        is_client_fault = judge(error) is Verdict.CLIENT_FAULT
        if is_client_fault != (recorded["class"] in ("client_error", "content_policy", "context_window")):
            wrong.append(f"{recorded['id']} ({recorded['class']})")

    assert wrong == []
