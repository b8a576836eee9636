"""What each upstream outcome means for the request, and what a provider says of when to come again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.gateway.errors import UpstreamError
from functions.gateway.verdicts import SHORT_WAIT_S, Verdict, judge
from functions.providers.refusals import is_error, refused, refused_in_band

STATUSES = [*range(300, 600), "timeout", "connection_error", "broken_stream", "invalid_response", "no_api_key"]


def refusal(status: int, error: Any, **headers: str) -> UpstreamError:
    """What becomes of an error answer with this `error` object."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return refused(httpx2.Response(status, headers=sent, content=orjson.dumps({"error": error})))


def quota(quota_id: str, value: str = "250", delay: str = "2s") -> dict[str, Any]:
    violation = {"quotaId": quota_id, "quotaValue": value}
    return {"status": "RESOURCE_EXHAUSTED", "details": [{"violations": [violation]}, {"retryDelay": delay}]}


@pytest.mark.parametrize(
    ("verdict", "statuses"),
    [
        (Verdict.RETRY, [408, 409, 500, 502, "connection_error", "broken_stream", "invalid_response"]),
        (Verdict.FALL_BACK_FIRST, [429, 503, 529]),
        (Verdict.FALL_BACK, [404, 405, 418, 499, 501, 504, 524, 302, "timeout"]),
        (Verdict.REST, [401, 402, 403, "no_api_key"]),
        (Verdict.UNFIT, ["unsupported", "unsupported_content"]),
        (Verdict.CLIENT_FAULT, [400, 413, 415, 422]),
    ],
)
def test_a_status_alone_decides(verdict: Verdict, statuses: list[int | str]) -> None:
    assert {status: judge(UpstreamError(status, "no")) for status in statuses} == dict.fromkeys(statuses, verdict)


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens and your request has 9000 input tokens.",  # vLLM
        "'max_tokens' is too large: 4096. This model's maximum context length is 8192 tokens.",  # vLLM
        "Prompt contains 65673 tokens, too large for model with 32768 maximum context length",  # Mistral
        "Your input exceeds the context window of this model.",
        "the request exceeds the available context size, try increasing it",  # llama.cpp
        "prompt too long; exceeded max context length by 312 tokens",  # Ollama
        "the input length exceeds the context length",  # Ollama
        "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 and 20",  # Together
        "Please reduce the length of the messages or completion.",  # Groq
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",  # xAI
        "Input is too long for requested model.",
        "Input tokens exceed the configured limit of 272000 tokens.",
        "Unable to submit request because the input token count is 1300000 but model only supports up to 1048576.",
    ],
)
def test_a_window_that_is_too_small_is_told_in_many_words(message: str) -> None:
    assert judge(refusal(400, {"message": message})) is Verdict.CONTEXT_WINDOW


@pytest.mark.parametrize("name", ["code", "type"])
def test_a_window_that_is_too_small_has_names(name: str) -> None:
    for said in ("context_length_exceeded", "exceed_context_size_error"):
        assert judge(refusal(400, {"message": "too much", name: said})) is Verdict.CONTEXT_WINDOW


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 64000. This model supports at most 16384 completion tokens.",
        "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for claude",
        "Could not finish the message because max_tokens or model output limit was reached.",
    ],
)
def test_an_output_limit_is_no_window(message: str) -> None:
    assert judge(refusal(400, {"message": message})) is Verdict.CLIENT_FAULT


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "content_filter", "message": "filtered"}),
        (400, {"code": "content_policy_violation", "message": "no"}),
        (400, {"message": "Output blocked by content filtering policy"}),
        (403, {"message": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"}),
        (400, {"message": "Your request was rejected as a result of our safety system."}),
    ],
)
def test_refused_content_is_told_apart(status: int, error: dict[str, Any]) -> None:
    assert judge(refusal(status, error)) is Verdict.CONTENT_POLICY


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"status": "INVALID_ARGUMENT", "message": "no", "details": [{"reason": "API_KEY_INVALID"}]}),
        (400, {"status": "FAILED_PRECONDITION", "message": "User location is not supported for the API use."}),
        (400, {"type": "invalid_request_error", "message": "Your credit balance is too low to access the API."}),
        (400, {"type": "invalid_request_error", "message": "You have reached your specified API usage limits."}),
        (400, {"type": "invalid_request_error", "message": "This organization has been disabled."}),
        (400, {"code": "model_decommissioned", "message": "The model `x` has been decommissioned"}),
        (404, {"type": "not_found_error", "message": "model: claude-9"}),
        (404, {"type": "NotFoundError", "message": "The model `x` does not exist."}),
        (429, {"code": "insufficient_quota", "message": "You exceeded your quota. Please try again in 1s."}),
        (429, {"type": "rate_limit_error", "message": "over 20,000,000 prompt bytes per hour"}),
        (429, quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")),
        (429, quota("GenerateRequestsPerMinutePerProjectPerModel", value="0")),
    ],
)
def test_what_no_wait_and_no_other_request_cures_is_for_a_rest(status: int, error: dict[str, Any]) -> None:
    assert judge(refusal(status, error)) is Verdict.REST


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (413, {"code": "rate_limit_exceeded", "message": "Request too large for model `x` on tokens per minute"}),
        (429, {"code": "rate_limit_exceeded", "message": "Request too large for gpt-4o on tokens per min (TPM)"}),
        (429, {"type": "rate_limit_error", "message": "Extra usage is required for long context requests."}),
        (400, {"type": "invalid_request_error", "message": "The compiled grammar is too large, which would cost"}),
        (400, {"type": "invalid_request_error", "message": "Your organization must be verified to stream this model."}),
        (404, {"type": "not_found_error", "message": "File not found: file_011CNha8iCJcU1wXNR6q4V8w"}),
        (404, {"type": "invalid_request_error", "message": "No such File object: file-model"}),
        (403, {"status": "PERMISSION_DENIED", "message": "You do not have permission to access the File abc"}),
        (403, {"status": "PERMISSION_DENIED", "message": "CachedContent not found (or permission denied)"}),
        (400, {"status": "FAILED_PRECONDITION", "message": "The File abc is not in an ACTIVE state"}),
    ],
)
def test_what_another_request_cures_is_left_to_the_next_without_a_rest(status: int, error: dict[str, Any]) -> None:
    assert judge(refusal(status, error)) is Verdict.UNFIT


@pytest.mark.parametrize(
    "quoted", ["credit balance", "Your credit balance is too low", "usage limits", "Request too large for", "file"]
)
def test_what_a_message_quotes_decides_nothing(quoted: str) -> None:
    error = {"type": "invalid_request_error", "message": f"tools.0.name: {quoted!r} should match '^[a-z]+$'"}

    assert judge(refusal(400, error)) is Verdict.CLIENT_FAULT


@pytest.mark.parametrize("status", [429, 503, 529, 500])
def test_a_long_wait_is_left_to_the_next(status: int) -> None:
    assert judge(UpstreamError(status, "no", retry_after_s=SHORT_WAIT_S + 0.1)) is Verdict.FALL_BACK_FIRST


def test_a_short_wait_for_a_limit_is_waited_for() -> None:
    assert judge(UpstreamError(429, "no", retry_after_s=SHORT_WAIT_S)) is Verdict.RETRY
    assert judge(refusal(429, quota("GenerateRequestsPerMinutePerProjectPerModel", delay="1s"))) is Verdict.RETRY


def test_an_overload_stays_one_however_soon_it_is_to_pass() -> None:
    assert judge(UpstreamError(503, "no", retry_after_s=1)) is Verdict.FALL_BACK_FIRST


@given(st.sampled_from(STATUSES), st.floats(0, 1e6), st.booleans(), st.text(max_size=50))
def test_nobody_is_waited_for_long_while_there_are_others(
    status: int | str, wait_s: float, is_lasting: bool, message: str
) -> None:
    verdict = judge(UpstreamError(status, message, retry_after_s=wait_s, is_lasting=is_lasting))

    if wait_s > SHORT_WAIT_S:
        assert verdict is not Verdict.RETRY
    if is_lasting and status == 429:
        assert verdict not in (Verdict.RETRY, Verdict.FALL_BACK_FIRST)


# --- when to come again -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": "-3"}, 0),
        ({"retry_after_ms": "174", "retry_after": "1"}, 0.174),
        ({"retry_after_ms": "soon", "retry_after": "1"}, 1),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "Wed, 99 Foo 99999999999999999999 00:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_headers_say_when_to_come_again(headers: dict[str, str], wait_s: float | None) -> None:
    assert refusal(429, {"message": "no"}, **headers).retry_after_s == wait_s


def test_a_date_says_when_to_come_again() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    assert 50 < (refusal(429, {"message": "no"}, retry_after=date).retry_after_s or 0) <= 60


@pytest.mark.parametrize(
    ("message", "wait_s"),
    [
        ("Rate limit reached. Please try again in 174ms. Visit …", 0.174),
        ("Please try again in 20s.", 20),
        ("Please try again in 6m0.5s.", 360.5),
        ("Please try again in 1h2m3s", 3723),
        ("Please retry in 48.939935699s.", 48.939935699),
        ("Please retry after 20 seconds.", 20),
        ("Please retry after 1 minute", 60),
        ("Please try again later.", None),
        ("Please try again in a while.", None),
    ],
)
def test_the_message_says_when_to_come_again(message: str, wait_s: float | None) -> None:
    told = refusal(429, {"message": message}).retry_after_s

    assert told == (pytest.approx(wait_s) if wait_s is not None else None)


def test_a_header_counts_before_the_message() -> None:
    assert refusal(429, {"message": "Please try again in 20s."}, retry_after="1").retry_after_s == 1


def test_googles_details_say_when_to_come_again() -> None:
    assert refusal(429, quota("PerMinute", delay="34.4s") | {"message": "retry in 9s"}).retry_after_s == 34.4


# --- errors in the band -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 503, "status": "UNAVAILABLE"}, 503),
        ({"code": "429", "message": "no"}, 429),
        ({"status": "RESOURCE_EXHAUSTED"}, 429),
        ({"type": "overloaded_error"}, 529),
        ({"type": "service_unavailable_error", "code": "server_is_overloaded"}, 503),
        ({"type": "server_error", "code": "rate_limit_exceeded"}, 429),
        ({"type": "something_new"}, 500),
        ("the engine died", 500),
    ],
)
def test_an_error_in_the_band_has_the_status_that_it_stands_for(error: Any, status: int) -> None:
    assert refused_in_band({"error": error}).status == status


def test_an_error_that_is_not_wrapped_is_one() -> None:
    body = {"object": "error", "message": "maximum context length", "type": "BadRequestError", "code": 400}

    assert is_error(body)
    assert judge(refused_in_band(body)) is Verdict.CONTEXT_WINDOW


INTEGERS = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["message", "type", "code", "status", "param", "details"])


@given(st.dictionaries(FIELDS, JSON | st.lists(st.dictionaries(st.sampled_from(["violations", "metadata"]), JSON))))
def test_no_error_object_is_too_odd_to_be_judged(error: dict[str, Any]) -> None:
    assert judge(refusal(429, error)) in Verdict
    assert judge(refused_in_band({"error": error})) in Verdict
