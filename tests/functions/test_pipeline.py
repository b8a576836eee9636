"""The story of a completion, told with a scripted upstream and a bus that can be held back."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, cast

import anyio
import orjson
import pytest
from starlette.types import Message, Scope

from events.spend import CompletionFailed, Scopes, Usage
from functions.gateway.config import Config
from functions.gateway.errors import AllModelsFailed, BadRequest, StoreUnavailable, UpstreamError
from functions.gateway.health import Fleet
from functions.gateway.pipeline import Completions
from functions.gateway.policy import RoutingPolicy
from functions.gateway.ports import Answer, ChatRequest, Chunk, Deployment, Wishes
from functions.gateway.run import Caller
from functions.surface.chat import ChatEndpoint
from tests.builders import NOON, UNCAPPED, answer, chat_request, chunk, deployment
from tests.functions.stand_ins import HeldBus, OpenAdmission, open_keyring

CALLER = Caller(request_id="call-1", scopes=Scopes(user="ada"))
TEN_IN = Usage(input_tokens=10, output_tokens=1)
TEN_IN_TWO_OUT = Usage(input_tokens=10, output_tokens=2)
HANG = "hang"
PINGS = "pings"
TICK = "tick"
HELLO = [chunk(usage=TEN_IN), chunk("Hel"), chunk("lo"), chunk(finish_reason="stop"), chunk(usage=TEN_IN_TWO_OUT)]


class ScriptedUpstream:
    """Answers each call with the next thing of its script: an answer, chunks, an error."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.asked: list[ChatRequest] = []
        self.closed = 0

    async def complete(self, request: ChatRequest, deployment: Deployment) -> Answer:
        outcome = self.script.pop(0)
        self.asked.append(request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @asynccontextmanager
    async def stream(self, request: ChatRequest, deployment: Deployment) -> AsyncGenerator[AsyncIterator[Chunk]]:
        self.asked.append(request)
        try:
            yield self._chunks(self.script.pop(0))
        finally:
            self.closed += 1

    async def _chunks(self, outcome: Any) -> AsyncIterator[Chunk]:
        for item in cast("list[Any]", outcome):
            if isinstance(item, Exception):
                raise item
            if isinstance(item, Chunk):
                yield item
            if item == TICK:
                await asyncio.sleep(0.05)
            while item == PINGS:
                await asyncio.sleep(0.01)
                yield chunk(usage=TEN_IN)
            if item == HANG:
                await asyncio.Event().wait()

    def dropped_params(self, request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
        return tuple(sorted(set(request.body) - {"model", "messages"}))

    async def warm_up(self) -> None:
        return None


class Bench:
    """A pipeline with two deployments in its chain."""

    def __init__(
        self,
        first: ScriptedUpstream,
        second: ScriptedUpstream | None = None,
        *,
        request_timeout_s: float = 600,
        **policy: Any,
    ) -> None:
        self.fleet = Fleet()
        self.bus = HeldBus()
        self.admission = OpenAdmission()
        patient = {"first_token_timeout_s": 0.2}
        groups = {
            "claude-sonnet": (deployment("anthropic", "claude-sonnet-4-6", group="claude-sonnet", **patient),),
            "gpt-4o": (deployment("openai", "gpt-4o"),),
        }
        self.config = Config(
            catalog_version="2026-11-23",
            deployments=groups,
            routing=RoutingPolicy(**{"fallbacks": {"claude-sonnet": ("gpt-4o",)}, "num_retries": 0, **policy}),
            drop_params=True,
            budget=UNCAPPED,
            budget_exceeded_status=429,
            master_key=None,
            max_request_bytes=1000,
            request_timeout_s=request_timeout_s,
        )
        self.completions = Completions(
            config=self.config,
            upstreams={"anthropic": first, "openai": second or ScriptedUpstream()},
            embedders={},
            fleet=self.fleet,
            admission=self.admission,
            bus=self.bus,
            now=_noon,
            clock=asyncio.get_running_loop().time,
            random=lambda: 0.0,
        )

    async def streamed(self, **fields: Any) -> list[bytes]:
        """Everything a client gets."""
        async with self.completions.stream(chat_request("claude-sonnet", stream=True, **fields), CALLER) as stream:
            return [event async for event in stream.events]


def _noon() -> datetime:
    return NOON


def texts(events: list[bytes]) -> str:
    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events if b"[DONE]" not in event]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def test_an_answer_leaves_after_its_spend_is_acknowledged() -> None:
    bench = Bench(ScriptedUpstream(answer()))
    bench.bus.open.clear()

    task = asyncio.create_task(bench.completions.answer(chat_request("claude-sonnet"), CALLER))
    await asyncio.wait_for(bench.bus.asked.wait(), 10)
    assert not task.done()

    bench.bus.open.set()
    rendered = await asyncio.wait_for(task, 10)
    assert orjson.loads(rendered.body)["choices"][0]["message"]["content"] == "Hello"


async def test_the_spend_event_says_who_asked_what_answered_and_what_it_cost() -> None:
    bench = Bench(ScriptedUpstream(UpstreamError(529, "overloaded")), ScriptedUpstream(answer()))

    rendered = await bench.completions.answer(chat_request("claude-sonnet"), CALLER)

    spend = bench.bus.spend
    assert (spend.request_id, spend.scopes.user, spend.alias) == ("call-1", "ada", "claude-sonnet")
    assert (spend.provider, spend.upstream_model, spend.cost) == ("openai", "gpt-4o", 10 * 2500 + 5 * 10_000)
    assert [(a.model, a.status) for a in spend.attempts] == [
        ("anthropic/claude-sonnet-4-6", "529"),
        ("openai/gpt-4o", "200"),
    ]
    assert rendered.headers["x-litellm-response-cost"] == "0.000075000"
    assert bench.admission.settled == [75_000]


async def test_usage_that_a_provider_does_not_report_is_estimated_billed_and_shown() -> None:
    bench = Bench(ScriptedUpstream(answer("x" * 40, usage=None)))

    rendered = await bench.completions.answer(chat_request("claude-sonnet"), CALLER)

    assert (bench.bus.spend.usage_is_estimated, bench.bus.spend.usage.output_tokens) == (True, 10)
    assert orjson.loads(rendered.body)["usage"]["completion_tokens"] == 10


async def test_a_fallback_is_visible_in_headers_and_in_the_models_name() -> None:
    bench = Bench(ScriptedUpstream(UpstreamError(529, "overloaded")), ScriptedUpstream(answer()))

    rendered = await bench.completions.answer(chat_request("claude-sonnet"), CALLER)

    assert rendered.headers["x-litellm-model-group"] == "gpt-4o"
    assert rendered.headers["x-litellm-attempted-fallbacks"] == "1"
    assert rendered.headers["x-gateway-attempts"] == "anthropic/claude-sonnet-4-6=529, openai/gpt-4o=200"
    assert orjson.loads(rendered.body)["model"] == "gpt-4o"


async def test_without_a_fallback_the_answer_bears_the_name_that_was_asked_for() -> None:
    rendered = await Bench(ScriptedUpstream(answer())).completions.answer(chat_request("claude-sonnet"), CALLER)

    assert orjson.loads(rendered.body)["model"] == "claude-sonnet"


async def test_what_was_left_out_is_named_in_a_header() -> None:
    bench = Bench(ScriptedUpstream(answer()))

    rendered = await bench.completions.answer(chat_request("claude-sonnet", seed=1), CALLER)

    assert rendered.headers["x-gateway-dropped-params"] == "seed"


async def test_a_name_that_no_header_can_hold_is_written_in_percents() -> None:
    bench = Bench(ScriptedUpstream(answer()))

    odd: dict[str, Any] = {"ключ": 1, "a\r\nset-cookie: x": 1}
    rendered = await bench.completions.answer(chat_request("claude-sonnet", **odd), CALLER)

    assert rendered.headers["x-gateway-dropped-params"] == "a%0D%0Aset-cookie: x,%D0%BA%D0%BB%D1%8E%D1%87"


async def test_an_answer_whose_spend_can_not_be_recorded_is_withheld(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(ScriptedUpstream(answer()))
    bench.bus.is_down = True

    with pytest.raises(StoreUnavailable, match="withheld"):
        await bench.completions.answer(chat_request("claude-sonnet"), CALLER)

    assert '"type":"spend.recorded.v1"' in caplog.text


async def test_a_request_that_nobody_answers_leaves_a_failure_and_costs_nothing() -> None:
    bench = Bench(ScriptedUpstream(UpstreamError(500, "no")), ScriptedUpstream(UpstreamError(503, "no")))

    with pytest.raises(AllModelsFailed):
        await bench.completions.answer(chat_request("claude-sonnet"), CALLER)

    (event,) = bench.bus.published
    assert isinstance(event, CompletionFailed)
    assert [attempt.status for attempt in event.attempts] == ["500", "503"]


async def test_a_stream_ends_with_done_after_its_spend_is_acknowledged() -> None:
    bench = Bench(ScriptedUpstream(HELLO))
    bench.bus.open.clear()
    got: list[bytes] = []

    async def read() -> None:
        async with bench.completions.stream(chat_request("claude-sonnet", stream=True), CALLER) as stream:
            got.extend([event async for event in stream.events])

    task = asyncio.create_task(read())
    await asyncio.wait_for(bench.bus.asked.wait(), 10)
    bench.bus.open.set()
    await asyncio.wait_for(task, 10)

    assert texts(got) == "Hello"
    assert got[-1] == b"data: [DONE]\n\n"
    assert bench.bus.spend.usage == TEN_IN_TWO_OUT


async def test_no_done_leaves_while_the_acknowledgement_is_outstanding() -> None:
    bench = Bench(ScriptedUpstream(HELLO))
    bench.bus.open.clear()

    async with bench.completions.stream(chat_request("claude-sonnet", stream=True), CALLER) as stream:
        got = [await anext(stream.events) for _ in range(3)]
        last = asyncio.create_task(anext(stream.events))
        await asyncio.wait_for(bench.bus.asked.wait(), 10)

        assert texts(got) == "Hello"
        assert not last.done()

        bench.bus.open.set()
        assert await asyncio.wait_for(last, 10) == b"data: [DONE]\n\n"


async def test_usage_comes_in_a_chunk_of_its_own_when_asked_for() -> None:
    events = await Bench(ScriptedUpstream(HELLO)).streamed(wants_usage=True)

    usage_chunk = orjson.loads(events[-2].removeprefix(b"data: "))
    assert usage_chunk["choices"] == []
    assert usage_chunk["usage"]["total_tokens"] == 12
    assert orjson.loads(events[0].removeprefix(b"data: "))["usage"] is None


async def test_usage_is_not_sent_unasked() -> None:
    assert b"usage" not in b"".join(await Bench(ScriptedUpstream(HELLO)).streamed())


async def test_a_failure_before_the_first_content_falls_back() -> None:
    broken = [chunk(usage=TEN_IN), UpstreamError(529, "overloaded")]
    bench = Bench(ScriptedUpstream(broken), ScriptedUpstream(HELLO))

    assert texts(await bench.streamed()) == "Hello"
    assert [attempt.status for attempt in bench.bus.spend.attempts] == ["529", "200"]


async def test_a_silent_stream_falls_back_and_its_connection_is_closed() -> None:
    silent = ScriptedUpstream([chunk(usage=TEN_IN), HANG])
    bench = Bench(silent, ScriptedUpstream(HELLO))

    assert texts(await bench.streamed()) == "Hello"
    assert silent.closed == 1
    assert bench.bus.spend.attempts[0].status == "timeout"


async def test_pings_do_not_put_off_a_fallback() -> None:
    bench = Bench(ScriptedUpstream([PINGS]), ScriptedUpstream(HELLO))

    assert texts(await asyncio.wait_for(bench.streamed(), 2)) == "Hello"
    assert bench.bus.spend.attempts[0].status == "timeout"


HALF = [chunk(usage=TEN_IN), chunk("Hel"), UpstreamError("broken_stream", "cut")]
REST = [chunk("lo"), chunk(finish_reason="stop"), chunk(usage=TEN_IN_TWO_OUT)]


def error_of(events: list[bytes]) -> dict[str, Any]:
    assert b"[DONE]" not in b"".join(events)
    return orjson.loads(events[-1].removeprefix(b"data: "))["error"]


async def test_a_stream_that_breaks_off_is_continued_by_the_next_deployment() -> None:
    second = ScriptedUpstream(REST)
    bench = Bench(ScriptedUpstream(HALF), second)

    events = await bench.streamed()

    assert texts(events) == "Hello"
    assert events[-1] == b"data: [DONE]\n\n"
    assert second.asked[0].body["messages"][1] == {"role": "assistant", "content": "Hel"}


async def test_what_a_continuation_repeats_is_not_said_twice() -> None:
    said = "One two three four"
    half = [chunk(said), UpstreamError("broken_stream", "cut")]
    over = [chunk("One two"), chunk(" three four"), chunk(" five"), chunk(finish_reason="stop")]

    assert texts(await Bench(ScriptedUpstream(half), ScriptedUpstream(over)).streamed()) == f"{said} five"


async def test_each_part_of_a_continued_stream_bears_the_name_of_who_said_it_under_one_id() -> None:
    events = await Bench(ScriptedUpstream(HALF), ScriptedUpstream(REST)).streamed()

    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    assert [chunk["model"] for chunk in chunks] == ["claude-sonnet", "gpt-4o", "gpt-4o"]
    assert len({chunk["id"] for chunk in chunks}) == 1


async def test_both_parts_of_a_continued_stream_are_billed_and_the_client_is_told_of_both() -> None:
    bench = Bench(ScriptedUpstream(HALF), ScriptedUpstream(REST))

    events = await bench.streamed(wants_usage=True)

    lost, rest = 10 * 2500 + 1 * 10_000, 10 * 2500 + 2 * 10_000
    spend = bench.bus.spend
    assert [(a.status, a.billed, a.cost) for a in spend.attempts] == [
        ("broken_stream", True, lost),
        ("200", True, rest),
    ]
    assert (spend.outcome, spend.cost, spend.upstream_model) == ("completed", lost + rest, "gpt-4o")
    assert orjson.loads(events[-2].removeprefix(b"data: "))["usage"]["completion_tokens"] == 1 + 2


async def test_a_continuation_that_breaks_off_as_well_is_continued_with_all_that_was_said() -> None:
    breaks = [chunk("lo, w"), UpstreamError("broken_stream", "cut")]
    last = ScriptedUpstream(breaks, [chunk("orld"), chunk(finish_reason="stop")])
    bench = Bench(ScriptedUpstream(HALF), last, num_retries=1)

    assert texts(await bench.streamed()) == "Hello, world"
    assert last.asked[1].body["messages"][1]["content"] == "Hello, w"


async def test_a_stream_to_which_nothing_is_to_be_added_is_complete() -> None:
    nothing = UpstreamError("invalid_response", "an answer without content", code="nothing_said")
    nothing.usage = TEN_IN
    bench = Bench(ScriptedUpstream(HALF), ScriptedUpstream([nothing]))

    events = await bench.streamed()

    assert texts(events) == "Hel"
    assert b'"finish_reason":"stop"' in events[-2]
    assert events[-1] == b"data: [DONE]\n\n"
    assert bench.bus.spend.usage == TEN_IN + TEN_IN


async def test_a_continuation_whose_provider_reports_nothing_is_estimated_by_what_it_was_sent() -> None:
    said = "x" * 4000
    half = [chunk(usage=TEN_IN), chunk(said), UpstreamError("broken_stream", "cut")]
    bench = Bench(ScriptedUpstream(half), ScriptedUpstream([chunk("!"), chunk(finish_reason="stop")]))

    await bench.streamed()

    assert bench.bus.spend.usage.input_tokens > 1000


async def test_what_a_failure_reports_to_have_used_is_billed() -> None:
    failure = UpstreamError("invalid_response", "a malformed call")
    failure.usage = TEN_IN_TWO_OUT
    bench = Bench(ScriptedUpstream(failure), ScriptedUpstream(answer()))

    await bench.completions.answer(chat_request("claude-sonnet"), CALLER)

    assert bench.bus.spend.attempts[0].cost == 10 * 2500 + 2 * 10_000


async def test_a_fallback_that_can_not_be_asked_such_a_thing_is_passed_over() -> None:
    unasked = BadRequest("tools: no custom tools on this wire", param="tools")
    bench = Bench(ScriptedUpstream(UpstreamError(503, "no")), ScriptedUpstream(unasked))

    with pytest.raises(AllModelsFailed):
        await bench.completions.answer(chat_request("claude-sonnet"), CALLER)

    with pytest.raises(BadRequest):
        await Bench(ScriptedUpstream(unasked)).completions.answer(chat_request("claude-sonnet"), CALLER)


async def test_the_import_of_an_sdk_is_no_part_of_an_attempt() -> None:
    class Cold(ScriptedUpstream):
        async def warm_up(self) -> None:
            await asyncio.sleep(0.3)  # more than the deployment's patience

    bench = Bench(Cold(HELLO))

    assert texts(await bench.streamed()) == "Hello"
    assert [attempt.status for attempt in bench.bus.spend.attempts] == ["200"]


async def test_a_stream_that_nobody_can_continue_ends_with_an_error_in_the_band() -> None:
    bench = Bench(ScriptedUpstream(HALF), ScriptedUpstream([UpstreamError(503, "no")]))

    events = await bench.streamed()

    assert texts(events[:-1]) == "Hel"
    error = error_of(events)
    assert error["code"] == "stream_broken"
    assert [attempt["status"] for attempt in error["attempts"]] == ["broken_stream", "503"]
    assert bench.bus.spend.outcome == "truncated"


async def test_where_streams_are_not_continued_nothing_falls_back_once_content_has_left() -> None:
    never = ScriptedUpstream(HELLO)
    bench = Bench(ScriptedUpstream(HALF), never, continues_streams=False)

    assert error_of(await bench.streamed())["attempts"][0]["status"] == "broken_stream"
    assert never.asked == []


async def test_a_tool_call_that_breaks_off_is_never_put_together_from_two_models() -> None:
    call = [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": '{"a'}}]
    half = Chunk(choices=[{"index": 0, "delta": {"tool_calls": call}, "finish_reason": None}])
    never = ScriptedUpstream(HELLO)

    events = await Bench(ScriptedUpstream([half, UpstreamError("broken_stream", "cut")]), never).streamed()

    assert error_of(events)["code"] == "stream_broken"
    assert never.asked == []


async def test_half_a_json_answer_is_not_continued() -> None:
    never = ScriptedUpstream(HELLO)

    events = await Bench(ScriptedUpstream(HALF), never).streamed(response_format={"type": "json_object"})

    assert error_of(events)["code"] == "stream_broken"
    assert never.asked == []


async def test_an_answer_that_broke_off_in_its_thoughts_is_asked_for_anew() -> None:
    thought = Chunk(choices=[{"index": 0, "delta": {"reasoning_content": "Hm"}, "finish_reason": None}])
    second = ScriptedUpstream(HELLO)

    events = await Bench(ScriptedUpstream([thought, UpstreamError("broken_stream", "cut")]), second).streamed()

    assert texts(events) == "Hello"
    assert len(second.asked[0].body["messages"]) == 1


async def test_an_answer_that_stalls_twice_ends() -> None:
    stalled = [chunk("Hel"), UpstreamError("timeout", "silent")]
    never = ScriptedUpstream(stalled, HELLO)

    events = await Bench(ScriptedUpstream(stalled), never, num_retries=2).streamed()

    assert error_of(events)["code"] == "stream_broken"
    assert len(never.asked) == 1


async def test_a_momentary_fault_is_retried_and_counted_as_a_retry() -> None:
    bench = Bench(ScriptedUpstream(UpstreamError(500, "no"), answer()), num_retries=1)

    rendered = await bench.completions.answer(chat_request("claude-sonnet"), CALLER)

    assert rendered.headers["x-litellm-attempted-retries"] == "1"
    assert rendered.headers["x-litellm-attempted-fallbacks"] == "0"


async def test_a_request_bounds_its_attempts() -> None:
    bench = Bench(ScriptedUpstream([HANG]), ScriptedUpstream(HELLO))
    request = chat_request("claude-sonnet", stream=True, wishes=Wishes(stream_timeout_s=0.01))

    async with bench.completions.stream(request, CALLER) as stream:
        assert texts([event async for event in stream.events]) == "Hello"


async def test_an_impatient_request_puts_no_deployment_to_rest() -> None:
    bench = Bench(ScriptedUpstream(*[[HANG]] * 5), ScriptedUpstream(*[HELLO] * 5))
    request = chat_request("claude-sonnet", stream=True, wishes=Wishes(timeout_s=0.01))

    for _ in range(5):
        async with bench.completions.stream(request, CALLER) as stream:
            assert texts([event async for event in stream.events]) == "Hello"

    health = bench.fleet.of(bench.config.deployments["claude-sonnet"][0])
    assert health.rests_until(asyncio.get_running_loop().time()) is None
    assert health.in_flight == 0


async def test_an_answer_that_was_withheld_goes_to_the_chain_for_refused_content_and_is_billed() -> None:
    choices = [{"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "content_filter"}]
    withheld = answer(choices=choices)
    lenient = {"claude-sonnet": ("gpt-4o",)}

    bench = Bench(ScriptedUpstream(withheld), ScriptedUpstream(answer()), content_policy_fallbacks=lenient)
    await bench.completions.answer(chat_request("claude-sonnet"), CALLER)
    assert [(a.status, a.billed) for a in bench.bus.spend.attempts] == [("content_filter", True), ("200", True)]

    without = Bench(ScriptedUpstream(withheld))
    rendered = await without.completions.answer(chat_request("claude-sonnet"), CALLER)
    assert orjson.loads(rendered.body)["choices"][0]["finish_reason"] == "content_filter"


def used_to_first_tokens(bench: Bench, seconds: float) -> Bench:
    """A bench whose first deployment is known to answer after so long."""
    health = bench.fleet.of(bench.config.deployments["claude-sonnet"][0])
    now = asyncio.get_running_loop().time()
    for _ in range(30):
        asked = health.begin(now)
        asked.succeeded(now, is_stream=True, seconds=seconds)
        asked.finished(now, 1)
    return bench


async def test_where_the_first_token_is_late_a_second_deployment_is_asked_beside_it() -> None:
    slow = ScriptedUpstream([chunk(usage=TEN_IN), HANG])
    bench = used_to_first_tokens(Bench(slow, ScriptedUpstream(HELLO), hedge_percentile=95), 0.01)

    assert texts(await asyncio.wait_for(bench.streamed(), 5)) == "Hello"

    assert slow.closed == 1
    spend = bench.bus.spend
    assert sorted((a.model, a.status, a.billed) for a in spend.attempts) == [
        ("anthropic/claude-sonnet-4-6", "outrun", True),
        ("openai/gpt-4o", "200", True),
    ]
    assert spend.cost == sum(a.cost for a in spend.attempts) > 0


async def test_a_hedge_that_comes_second_is_stopped() -> None:
    never = ScriptedUpstream([HANG])
    first = ScriptedUpstream([TICK, TICK, *HELLO])
    bench = used_to_first_tokens(Bench(first, never, hedge_percentile=95), 0.01)

    assert texts(await asyncio.wait_for(bench.streamed(), 5)) == "Hello"
    assert (never.closed, len(never.asked)) == (1, 1)


async def test_a_hedge_that_finds_the_request_at_fault_does_not_end_the_first() -> None:
    first = ScriptedUpstream([TICK, TICK, *HELLO])
    second = ScriptedUpstream([UpstreamError(400, "temperature is too high")])
    bench = used_to_first_tokens(Bench(first, second, hedge_percentile=95), 0.01)

    assert texts(await asyncio.wait_for(bench.streamed(), 5)) == "Hello"
    assert [attempt.status for attempt in bench.bus.spend.attempts] == ["400", "200"]


async def test_what_was_asked_and_stopped_is_no_longer_in_flight() -> None:
    bench = used_to_first_tokens(Bench(ScriptedUpstream([HANG]), ScriptedUpstream([HANG]), hedge_percentile=95), 0.01)

    await leave_before_content(bench)

    groups = bench.config.deployments.values()
    assert [bench.fleet.of(deployment).in_flight for group in groups for deployment in group] == [0, 0]


async def test_a_stream_whose_time_is_over_says_nothing_of_its_deployment() -> None:
    bench = Bench(*[ScriptedUpstream(*[[chunk("Hel"), HANG]] * 5) for _ in range(2)], request_timeout_s=0.05)

    for _ in range(5):
        await asyncio.wait_for(bench.streamed(), 2)

    health = bench.fleet.of(bench.config.deployments["claude-sonnet"][0])
    assert health.rests_until(asyncio.get_running_loop().time()) is None


async def test_the_connection_of_a_complete_stream_is_closed() -> None:
    upstream = ScriptedUpstream(HELLO)

    await Bench(upstream).streamed()

    assert upstream.closed == 1


async def test_a_resting_deployment_that_was_passed_over_counts_as_a_fallback() -> None:
    bench = Bench(ScriptedUpstream(), ScriptedUpstream(answer()))
    now = asyncio.get_running_loop().time()
    bench.fleet.of(bench.config.deployments["claude-sonnet"][0]).rest_until(now + 30, now)

    rendered = await bench.completions.answer(chat_request("claude-sonnet"), CALLER)

    assert rendered.headers["x-litellm-attempted-fallbacks"] == "1"


async def test_the_error_of_a_stream_names_the_model_that_broke_off() -> None:
    bench = Bench(ScriptedUpstream(HALF), ScriptedUpstream([UpstreamError(403, "no")]))

    message = error_of(await bench.streamed())["message"]

    assert message.startswith("The answer of anthropic/claude-sonnet-4-6 broke off (broken_stream)")


async def test_nobody_is_hedged_unless_configured_or_while_little_is_known() -> None:
    for policy in ({}, {"hedge_percentile": 95}):
        never = ScriptedUpstream(HELLO)
        bench = Bench(ScriptedUpstream([TICK, *HELLO]), never, **policy)
        await (used_to_first_tokens(bench, 0.01) if not policy else bench).streamed()
        assert never.asked == []


async def test_a_broken_stream_is_billed_for_what_it_produced() -> None:
    said = [chunk(usage=TEN_IN), chunk("x" * 40), UpstreamError("broken_stream", "cut")]
    bench = Bench(ScriptedUpstream(said), continues_streams=False)

    await bench.streamed()

    spend = bench.bus.spend
    assert (spend.outcome, spend.usage_is_estimated) == ("truncated", True)
    assert (spend.usage.input_tokens, spend.usage.output_tokens) == (10, 10)
    assert spend.attempts[0].billed


async def test_an_attempt_that_was_billed_before_it_failed_is_paid_for() -> None:
    stalled = ScriptedUpstream([chunk(usage=TEN_IN), HANG])
    bench = Bench(stalled, ScriptedUpstream(HELLO))

    await bench.streamed()

    lost, served = 10 * 2500 + 1 * 10_000, 10 * 2500 + 2 * 10_000
    spend = bench.bus.spend
    assert [(attempt.billed, attempt.cost) for attempt in spend.attempts] == [(True, lost), (True, served)]
    assert (spend.cost, spend.usage) == (lost + served, TEN_IN_TWO_OUT)
    assert bench.admission.settled == [lost + served]


async def test_a_request_that_nobody_answers_costs_what_was_billed_for_it() -> None:
    broken = [chunk(usage=TEN_IN), UpstreamError(529, "overloaded")]
    bench = Bench(ScriptedUpstream(broken), ScriptedUpstream([UpstreamError(500, "no")]))

    with pytest.raises(AllModelsFailed):
        await bench.streamed()

    (event,) = bench.bus.published
    assert isinstance(event, CompletionFailed)
    assert [attempt.billed for attempt in event.attempts] == [True, False]
    assert (event.cost, event.catalog_version) == (35_000, "2026-11-23")
    assert bench.admission.settled == [35_000]


async def test_what_was_billed_before_a_provider_refused_the_request_is_not_lost() -> None:
    broken = [chunk(usage=TEN_IN), UpstreamError(529, "overloaded")]
    bench = Bench(ScriptedUpstream(broken), ScriptedUpstream([UpstreamError(400, "bad")]))

    with pytest.raises(BadRequest):
        await bench.streamed()

    (event,) = bench.bus.published
    assert isinstance(event, CompletionFailed)
    assert event.cost == 35_000


async def test_a_stream_whose_spend_can_not_be_recorded_ends_without_done() -> None:
    bench = Bench(ScriptedUpstream(HELLO))
    bench.bus.is_down = True

    events = await bench.streamed()

    assert b"[DONE]" not in b"".join(events)
    assert b"store_unavailable" in events[-1]


async def test_a_client_that_leaves_stops_the_upstream_and_pays_for_what_was_consumed() -> None:
    upstream = ScriptedUpstream([chunk(usage=TEN_IN), chunk("x" * 8), HANG])
    bench = Bench(upstream)
    has_read = asyncio.Event()

    async def read() -> None:
        async with bench.completions.stream(chat_request("claude-sonnet", stream=True), CALLER) as stream:
            async for _ in stream.events:
                has_read.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await has_read.wait()
        tasks.cancel_scope.cancel()

    assert upstream.closed == 1
    assert (bench.bus.spend.outcome, bench.bus.spend.usage.output_tokens) == ("client_disconnected", 2)


async def test_a_client_that_leaves_before_reading_is_still_recorded() -> None:
    bench = Bench(ScriptedUpstream(HELLO))

    async with bench.completions.stream(chat_request("claude-sonnet", stream=True), CALLER):
        pass

    assert bench.bus.spend.outcome == "client_disconnected"


async def leave_before_content(bench: Bench) -> None:
    """Ask for a stream whose content never comes, and leave once the upstream has been asked."""
    with anyio.move_on_after(0.1):
        async with bench.completions.stream(chat_request("claude-sonnet", stream=True), CALLER):
            raise AssertionError("no content has come")


async def test_a_client_that_leaves_before_content_pays_what_the_provider_reported() -> None:
    upstream = ScriptedUpstream([chunk(usage=TEN_IN), HANG])
    bench = Bench(upstream)

    await leave_before_content(bench)

    assert upstream.closed == 1
    spend = bench.bus.spend
    assert (spend.outcome, spend.usage, spend.attempts[0].status) == (
        "client_disconnected",
        TEN_IN,
        "client_disconnected",
    )


async def test_a_client_that_leaves_before_anything_came_leaves_a_failure() -> None:
    bench = Bench(ScriptedUpstream([HANG]))

    await leave_before_content(bench)

    (event,) = bench.bus.published
    assert isinstance(event, CompletionFailed)
    assert [attempt.status for attempt in event.attempts] == ["client_disconnected"]


async def test_when_the_requests_time_is_over_nobody_else_is_asked() -> None:
    never = ScriptedUpstream(HELLO)
    bench = Bench(ScriptedUpstream([HANG]), never, request_timeout_s=0.1)

    with pytest.raises(AllModelsFailed) as failed:
        await bench.streamed()

    assert [attempt["status"] for attempt in failed.value.details["attempts"]] == ["timeout"]
    assert len(never.script) == 1


async def test_a_stream_whose_time_is_over_ends_like_a_broken_one() -> None:
    bench = Bench(ScriptedUpstream([chunk(usage=TEN_IN), chunk("Hel"), HANG]), request_timeout_s=0.1)

    events = await asyncio.wait_for(bench.streamed(), 2)

    assert texts(events[:-1]) == "Hel"
    error = orjson.loads(events[-1].removeprefix(b"data: "))["error"]
    assert (error["code"], error["attempts"][0]["status"]) == ("stream_broken", "timeout")
    assert bench.bus.spend.outcome == "truncated"


async def test_a_client_that_takes_nothing_more_is_one_that_has_gone() -> None:
    upstream = ScriptedUpstream([chunk(usage=TEN_IN), chunk("x" * 8), HANG])
    bench = Bench(upstream)
    body = b'{"model": "claude-sonnet", "stream": true, "messages": [{"role": "user", "content": "Say hello"}]}'
    arriving = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not arriving:
            await asyncio.Event().wait()
        return arriving.pop()

    async def take_the_start_only(message: Message) -> None:
        if message["type"] != "http.response.start":
            await asyncio.Event().wait()

    app = ChatEndpoint(bench.completions, bench.config, open_keyring(), taken_within_s=0.1)
    scope: Scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    await asyncio.wait_for(app(scope, receive, take_the_start_only), 2)

    assert upstream.closed == 1
    assert (bench.bus.spend.outcome, bench.bus.spend.usage.output_tokens) == ("client_disconnected", 2)


async def test_the_spend_event_names_the_allowances_that_it_was_made_from() -> None:
    bench = Bench(ScriptedUpstream(answer()))
    bench.admission.allowance_ids = ("global:2026-11-24|a",)

    await bench.completions.answer(chat_request("claude-sonnet"), CALLER)

    assert bench.bus.spend.allowance_ids == ("global:2026-11-24|a",)


async def test_an_answer_that_the_budget_makes_shorter_says_so() -> None:
    upstream = ScriptedUpstream(answer())
    bench = Bench(upstream)
    bench.admission.max_tokens = 50

    rendered = await bench.completions.answer(chat_request("claude-sonnet", max_tokens=100), CALLER)

    assert upstream.asked[0].body["max_tokens"] == 50
    assert rendered.headers["x-gateway-max-tokens"] == "50"


async def test_what_could_not_be_recorded_is_spent_all_the_same() -> None:
    bench = Bench(ScriptedUpstream(answer()))
    bench.bus.is_down = True

    with pytest.raises(StoreUnavailable):
        await bench.completions.answer(chat_request("claude-sonnet"), CALLER)

    assert bench.admission.settled == [75_000]
