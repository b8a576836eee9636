"""Every recorded error of the providers means what it is said to mean, through the real SDKs and wires."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Chunk
from functions.gateway.verdicts import Verdict, judge
from functions.providers.anthropic import anthropic_upstream
from functions.providers.google import google_upstream
from functions.providers.openai import openai_upstream
from functions.providers.refusals import is_error, refused, refused_in_band
from functions.providers.upstream import ProviderUpstream
from tests.builders import chat_request, deployment
from tests.conftest import CASSETTES

UPSTREAMS: dict[str, Callable[[httpx2.AsyncClient], ProviderUpstream]] = {
    "openai": openai_upstream,
    "anthropic": anthropic_upstream,
    "google": google_upstream,
}
PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "google": "gemini"}
VERDICTS = {
    "retry_same": {Verdict.RETRY},
    "fall_back": {Verdict.FALL_BACK, Verdict.FALL_BACK_FIRST},
    "auth_ours": {Verdict.REST},
    "context_window": {Verdict.CONTEXT_WINDOW},
    "content_policy": {Verdict.CONTENT_POLICY},
    "client_error": {Verdict.CLIENT_FAULT},
}

# Of what is left to the next: what is wrong with that request alone, and what is wrong with nobody's request.
UNFIT = {
    "openai.400.organization_not_verified", "openai.429.request_too_large", "anthropic.429.long_context",
}  # fmt: skip
REST = {
    "openai.403.unsupported_country", "openai.403.no_model_access", "openai.403.not_allowed_to_sample",
    "openai.404.model_not_found", "openai.404.only_in_responses", "openai.400.model_not_found.responses",
    "openai.429.insufficient_quota", "openai.200.stream_error_insufficient_quota.responses",
    "anthropic.400.credit_balance", "anthropic.400.spend_limit", "anthropic.402.billing_error",
    "anthropic.403.forbidden", "anthropic.404.not_found_error", "anthropic.429.rate_limit_error.hourly",
    "google.400.user_location", "google.404.not_found", "google.429.resource_exhausted.per_day",
    "google.429.quota_zero",
}  # fmt: skip


def _errors() -> Iterable[dict[str, Any]]:
    path = CASSETTES / "errors.json"
    return json.loads(path.read_text())["errors"] if path.is_file() else ()


def _named(errors: Iterable[dict[str, Any]]) -> list[Any]:
    return [pytest.param(error, id=error["id"]) for error in errors]


ERRORS = list(_errors())
CHAT = [error for error in ERRORS if error["api"] != "responses"]
REFUSED = _named(error for error in CHAT if "deliver_as" not in error and error["phase"] == "response")
FAILED = _named(error for error in CHAT if "deliver_as" not in error and error["phase"] != "response")
WITHHELD = _named(error for error in CHAT if "deliver_as" in error)
RESPONSES = _named(error for error in ERRORS if error["api"] == "responses")


def expected(error: dict[str, Any]) -> set[Verdict]:
    """Give the verdicts that an error's class allows: one that is retried at the chain's end is to be told apart."""
    if error["id"] in UNFIT:
        return {Verdict.UNFIT}
    if error["id"] in REST:
        return {Verdict.REST}
    if "last deployment of the chain" in error.get("unless", ""):
        return {Verdict.FALL_BACK_FIRST}
    return VERDICTS[error["class"]]


def content_of(error: dict[str, Any]) -> bytes:
    """Give an answer's bytes as they came over the wire."""
    if "raw" in error:
        return error["raw"].encode()
    if "sse" in error:
        return "".join(f"{event}\n\n" for event in error["sse"]).encode()
    return json.dumps(error["body"]).encode()


async def answered(error: dict[str, Any], *, is_stream: bool) -> list[dict[str, Any]]:
    """Give the choices that the client is given. Raises `UpstreamError`."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(error["status"], headers=error["headers"], content=content_of(error))

    to = deployment(PROVIDERS[error["provider"]], "m")
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        upstream = UPSTREAMS[error["provider"]](http)
        if not is_stream:
            return (await upstream.complete(chat_request(), to)).choices
        async with upstream.stream(chat_request(stream=True), to) as chunks:
            return choices_of([chunk async for chunk in chunks])


def choices_of(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [choice for chunk in chunks for choice in chunk.choices]


def is_streamed(error: dict[str, Any]) -> bool:
    return error["phase"] == "mid_stream"


def test_the_recorded_errors_are_all_here(cassettes: Path) -> None:
    assert len(REFUSED) + len(FAILED) + len(WITHHELD) + len(RESPONSES) == len(ERRORS)
    assert len(REFUSED) > 60


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("error", REFUSED)
async def test_an_error_in_place_of_an_answer_is_judged_as_its_class(error: dict[str, Any], is_stream: bool) -> None:
    with pytest.raises(UpstreamError) as raised:
        await answered(error, is_stream=is_stream)

    assert raised.value.status == error["status"]
    assert judge(raised.value) in expected(error)


@pytest.mark.parametrize("error", FAILED)
async def test_an_error_inside_a_200_is_judged_as_its_class(error: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError) as raised:
        await answered(error, is_stream=is_streamed(error))

    assert judge(raised.value) in expected(error)


@pytest.mark.parametrize("error", WITHHELD)
async def test_an_answer_that_was_cut_off_says_so(error: dict[str, Any]) -> None:
    choices = await answered(error, is_stream=is_streamed(error))

    reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    assert reasons == [error["deliver_as"]["finish_reason"]]


@pytest.mark.parametrize("error", RESPONSES)
def test_an_error_of_the_responses_api_is_judged_as_its_class(error: dict[str, Any]) -> None:
    assert judge(_described(error)) in expected(error)


def _described(error: dict[str, Any]) -> UpstreamError:
    if "sse" not in error:
        response = httpx2.Response(error["status"], headers=error["headers"], content=content_of(error))
        return refused(response)
    events = (json.loads(event.partition("data: ")[2]) for event in error["sse"])
    return refused_in_band(next(event for event in events if is_error(event)))
