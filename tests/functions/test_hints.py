"""What instances hint to each other of their cooldowns, with the embedded store between them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx2
import pytest

from functions.adapters.embedded.stores import open_embedded
from functions.bootstrap import CompletionInstance, Environment, open_completion, open_stores, read_environment
from functions.gateway.errors import StoreUnavailable, UpstreamError
from functions.gateway.health import Fleet, Health
from functions.gateway.hints import Hints
from functions.gateway.pipeline import Completions
from functions.gateway.ports import Cooldowns
from functions.gateway.verdicts import Verdict
from functions.surface.edge import at_edge
from tests.builders import NOON, answer, chat_request, deployment
from tests.emulators import free_port
from tests.functions.test_pipeline import CALLER, HELLO, Bench, ScriptedUpstream

SONNET = deployment("anthropic", "claude-sonnet-4-6", group="claude-sonnet")


class WatchedCooldowns:
    """A store that counts its readings, keeps what it was told, and can be down or silent."""

    def __init__(self, store: Cooldowns) -> None:
        self._store = store
        self.readings = 0
        self.answered = 0
        self.told: list[Mapping[str, datetime]] = []
        self.is_down = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def announce(self, rests: Mapping[str, datetime]) -> None:
        await self._store.announce(rests)
        self.told.append(rests)

    async def read(self, now: datetime) -> Mapping[str, datetime]:
        self.readings += 1
        await self.answers.wait()
        if self.is_down:
            raise StoreUnavailable("the store is down")
        told = await self._store.read(now)
        self.answered += 1
        return told


class Time:
    """Seconds since noon, for all instances."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


class Instance:
    """One instance, whose own clock began `started` seconds before noon."""

    def __init__(self, cooldowns: Cooldowns, time: Time, *, started: float = 0, cooldown_s: float = 5) -> None:
        self._time = time
        self._started = started
        self._sonnet = deployment("anthropic", "claude-sonnet-4-6", group="claude-sonnet", cooldown_s=cooldown_s)
        self.hints = Hints([self._sonnet], cooldowns, now=time.now, clock=self.clock)
        self.fleet = Fleet(on_rest=self.hints.report)

    def clock(self) -> float:
        return self._time.seconds + self._started

    @property
    def health(self) -> Health:
        return self.fleet.of(self._sonnet)

    @property
    def rests(self) -> bool:
        return self.health.rests_until(self.clock()) is not None

    def fails(self, *, retry_after_s: float | None = None) -> None:
        """Put it to rest at once."""
        asked = self.health.begin(self.clock())
        asked.failed(self.clock(), Verdict.REST, retry_after_s=retry_after_s)

    def succeeds(self) -> None:
        self.health.begin(self.clock()).succeeded(self.clock(), is_stream=False, seconds=1)


class HintedBench(Bench):
    """A pipeline that gives hints and takes them."""

    def __init__(self, hints: Hints, first: ScriptedUpstream, second: ScriptedUpstream) -> None:
        super().__init__(first, second)
        self.fleet = Fleet(on_rest=hints.report)
        self.completions = Completions(
            config=self.config,
            upstreams={"anthropic": first, "openai": second},
            embedders={},
            fleet=self.fleet,
            admission=self.admission,
            bus=self.bus,
            now=lambda: NOON,
            clock=asyncio.get_running_loop().time,
            random=lambda: 0.0,
            notice_request=hints.notice_request,
        )


@pytest.fixture
async def cooldowns(tmp_path: Path) -> AsyncGenerator[WatchedCooldowns]:
    async with open_embedded(tmp_path) as stores:
        yield WatchedCooldowns(stores.cooldowns)


@asynccontextmanager
async def exchanging(*instances: Instance | tuple[Hints, Fleet]) -> AsyncGenerator[None]:
    """Run the instances' tasks."""
    pairs = [(one.hints, one.fleet) if isinstance(one, Instance) else one for one in instances]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(hints.exchange(fleet)) for hints, fleet in pairs]
        yield
        for task in running:
            task.cancel()


async def eventually(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110 (a condition of any kind, some of it in a file)
            await asyncio.sleep(0.005)


async def test_what_one_instance_puts_to_rest_another_rests_for_as_long(cooldowns: WatchedCooldowns) -> None:
    time = Time()
    one, other = Instance(cooldowns, time), Instance(cooldowns, time, started=1000)

    async with exchanging(one, other):
        one.fails()
        await eventually(lambda: bool(cooldowns.told))
        other.hints.notice_request()
        await eventually(lambda: other.rests)

    time.seconds = 4.9
    assert other.rests
    time.seconds = 5
    assert not other.rests
    other.health.begin(other.clock())
    assert other.rests  # by its probe


async def test_a_hint_is_not_told_on(cooldowns: WatchedCooldowns) -> None:
    time = Time()
    one, other = Instance(cooldowns, time), Instance(cooldowns, time)

    async with exchanging(one, other):
        one.fails(retry_after_s=40)
        await eventually(lambda: bool(cooldowns.told))
        other.hints.notice_request()
        await eventually(lambda: other.rests)
        time.seconds = 20
        other.hints.notice_request()
        await eventually(lambda: cooldowns.answered == 3)
        await anyio.wait_all_tasks_blocked()

    assert len(cooldowns.told) == 1


async def test_what_shows_life_is_not_put_back_to_rest_by_the_same_hint(cooldowns: WatchedCooldowns) -> None:
    time = Time()
    one = Instance(cooldowns, time)
    await cooldowns.announce({SONNET.model_id: at(40)})

    async with exchanging(one):
        one.hints.notice_request()
        await eventually(lambda: one.rests)
        one.succeeds()
        time.seconds = 10
        one.hints.notice_request()
        await eventually(lambda: cooldowns.answered == 2)
        await anyio.wait_all_tasks_blocked()

    assert not one.rests


async def test_what_an_instance_tells_is_no_hint_to_itself(cooldowns: WatchedCooldowns) -> None:
    time = Time()
    one = Instance(cooldowns, time)

    async with exchanging(one):
        one.fails(retry_after_s=40)
        await eventually(lambda: bool(cooldowns.told))
        one.succeeds()
        time.seconds = 10
        one.hints.notice_request()
        await eventually(lambda: cooldowns.answered == 2)
        await anyio.wait_all_tasks_blocked()

    assert not one.rests


async def test_what_the_others_know_is_not_told_again(cooldowns: WatchedCooldowns) -> None:
    time = Time()
    one, other = Instance(cooldowns, time), Instance(cooldowns, time)

    async with exchanging(one, other):
        one.fails()
        await eventually(lambda: bool(cooldowns.told))
        time.seconds = 1
        other.fails()
        await eventually(lambda: cooldowns.answered == 2)
        time.seconds = 6
        other.fails()
        await eventually(lambda: len(cooldowns.told) > 1)

    assert cooldowns.told == [{SONNET.model_id: at(5)}, {SONNET.model_id: at(16)}]


async def test_a_rest_is_told_as_a_minute_at_most(cooldowns: WatchedCooldowns) -> None:
    one = Instance(cooldowns, Time(), cooldown_s=300)

    async with exchanging(one):
        one.fails()
        await eventually(lambda: bool(cooldowns.told))

    assert cooldowns.told == [{SONNET.model_id: at(60)}]


async def test_a_hint_about_a_deployment_that_is_not_configured_is_passed_over(
    cooldowns: WatchedCooldowns, caplog: pytest.LogCaptureFixture
) -> None:
    one = Instance(cooldowns, Time())
    await cooldowns.announce({"of-another-version": at(5), SONNET.model_id: at(5)})

    async with exchanging(one):
        one.hints.notice_request()
        await eventually(lambda: one.rests)

    assert "not exchanged" not in caplog.text


async def test_nothing_is_read_while_no_requests_come(cooldowns: WatchedCooldowns) -> None:
    time = Time()
    one = Instance(cooldowns, time)

    async with exchanging(one):
        await anyio.wait_all_tasks_blocked()
        time.seconds = 3600
        await anyio.wait_all_tasks_blocked()

    assert cooldowns.readings == 0


async def test_hints_are_read_at_most_every_ten_seconds(cooldowns: WatchedCooldowns) -> None:
    time = Time()
    one = Instance(cooldowns, time)
    readings = list[int]()

    async with exchanging(one):
        for time.seconds in (0, 9.9, 10, 10.1):
            one.hints.notice_request()
            await anyio.wait_all_tasks_blocked()
            await eventually(lambda: cooldowns.answered == cooldowns.readings)
            readings.append(cooldowns.readings)

    assert readings == [1, 1, 2, 2]


async def test_what_could_not_be_told_is_told_when_the_store_is_back(
    cooldowns: WatchedCooldowns, caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()
    one = Instance(cooldowns, time)
    cooldowns.is_down = True

    async with exchanging(one):
        one.fails(retry_after_s=40)
        await eventually(lambda: "not exchanged" in caplog.text)
        cooldowns.is_down = False
        time.seconds = 10
        one.hints.notice_request()
        await eventually(lambda: bool(cooldowns.told))

    assert cooldowns.told == [{SONNET.model_id: at(40)}]


async def test_a_request_passes_over_what_another_instance_put_to_rest(cooldowns: WatchedCooldowns) -> None:
    clock = asyncio.get_running_loop().time
    hints, others_hints = real_time_hints(cooldowns), real_time_hints(cooldowns)
    refusing = HintedBench(hints, ScriptedUpstream(UpstreamError(401, "no")), ScriptedUpstream(answer()))
    sonnet = ScriptedUpstream(answer(), answer())
    other = HintedBench(others_hints, sonnet, ScriptedUpstream(answer()))

    async with exchanging((hints, refusing.fleet), (others_hints, other.fleet)):
        await refusing.completions.answer(chat_request("claude-sonnet"), CALLER)
        await eventually(lambda: bool(cooldowns.told))
        await other.completions.answer(chat_request("claude-sonnet"), CALLER)
        await eventually(lambda: other.fleet.of(SONNET).rests_until(clock()) is not None)
        rendered = await other.completions.answer(chat_request("claude-sonnet"), CALLER)

    assert rendered.headers["x-litellm-model-group"] == "gpt-4o"
    assert len(sonnet.asked) == 1


@pytest.mark.parametrize("is_silent", [False, True])
async def test_requests_are_answered_whatever_the_store_does(cooldowns: WatchedCooldowns, is_silent: bool) -> None:
    hints = real_time_hints(cooldowns)
    cooldowns.is_down = True
    if is_silent:
        cooldowns.answers.clear()
    sonnet = ScriptedUpstream(UpstreamError(401, "no"))
    bench = HintedBench(hints, sonnet, ScriptedUpstream(answer(), HELLO))

    async with exchanging((hints, bench.fleet)):
        await bench.completions.answer(chat_request("claude-sonnet"), CALLER)
        await eventually(lambda: cooldowns.readings > 0)
        assert (await bench.streamed())[-1] == b"data: [DONE]\n\n"


FILE = """
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, allowed_fails: 0, cooldown_time: 60}
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-6, cooldown_time: 0}
router_settings: {num_retries: 0, fallbacks: [{gpt-4o: [claude]}]}
"""


async def asked_for(alias: str, instance: CompletionInstance) -> str:
    """Whom an instance asks in vain."""
    transport = httpx2.ASGITransport(app=at_edge(instance.router))
    body = {"model": alias, "messages": [{"role": "user", "content": "Say hello"}]}
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return (await http.post("/v1/chat/completions", json=body)).headers["x-gateway-attempts"]


async def asked_second(environment: Environment) -> str:
    """Whom a new instance asks for its second request; mostly the hints have been read while its first one ran."""
    async with open_completion(environment) as instance:
        await asked_for("claude", instance)
        return await asked_for("gpt-4o", instance)


async def test_the_completion_function_gives_hints_and_takes_them(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE)
    environment = read_environment(
        gateway_backend="embedded",
        state_dir=tmp_path,
        gateway_config=tmp_path / "gateway.yaml",
        **{f"{name}_api_key": "sk-test" for name in ("openai", "anthropic")},
        **{f"{name}_base_url": f"http://127.0.0.1:{free_port()}" for name in ("openai", "anthropic")},
    )
    async with open_completion(environment) as instance:
        assert (await asked_for("gpt-4o", instance)).startswith("openai/gpt-4o")
        with anyio.fail_after(10):
            async with open_stores(environment) as stores:
                while set(await stores.cooldowns.read(datetime.now(UTC))) != {"gpt-4o-1"}:
                    pass

    with anyio.fail_after(10):
        while not (await asked_second(environment)).startswith("anthropic/"):
            pass


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def real_time_hints(cooldowns: Cooldowns) -> Hints:
    return Hints([SONNET], cooldowns, now=lambda: NOON, clock=asyncio.get_running_loop().time)
