"""How the parts of the local stack are kept running: real processes, of one line each."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest

from infra.local.supervisor import CannotStart, Part, Plan, layout_of, lines_of

_LIVES_ON = "; import signal; signal.pause()"


def part(code: str, *, stack_is_ready: bool = False) -> Part:
    """A part that runs some Python, and is up when it says so."""
    is_ready = asyncio.Event()
    if stack_is_ready:
        is_ready.set()
    return Part(Plan("part", [sys.executable, "-uc", code], dict(os.environ), stage=2, ready_line="relaying"), is_ready)


@asynccontextmanager
async def kept_running(part: Part) -> AsyncGenerator[None]:
    async with asyncio.timeout(20):
        running = asyncio.create_task(part.keep_running())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def log_with(pattern: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Wait until the log matches, and give it."""
    log = ""
    while not re.search(pattern, log, re.DOTALL):
        await asyncio.sleep(0.01)
        log += capsys.readouterr().err
    return log


async def test_a_line_of_any_length_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    chatty = part("print('x' * 1_000_000); print('relaying')" + _LIVES_ON)

    async with kept_running(chatty):
        await chatty.is_up.wait()

    assert "part | " + "x" * 4000 + " …\npart | relaying\n" in capsys.readouterr().err


async def test_lines_come_whole_however_they_arrive() -> None:
    stream = asyncio.StreamReader()
    for piece in (b"a", b"b\nc\n\n", b"d" * 5000, b"d\ne", b"\xff"):
        stream.feed_data(piece)
    stream.feed_eof()

    assert [line async for line in lines_of(stream)] == ["ab", "c", "", "d" * 4000 + " …", "e\ufffd"]


async def test_a_part_without_an_address_is_up_only_on_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    warned = part("print('a warning')" + _LIVES_ON)

    async with kept_running(warned):
        await log_with("a warning", capsys)
        assert not warned.is_up.is_set()


async def test_before_the_stack_is_ready_a_few_short_lives_are_too_many() -> None:
    short = part("print('relaying'); raise SystemExit('no such table')")

    async with asyncio.timeout(20):
        with pytest.raises(CannotStart, match=r"(?s)part does not start; it said:.*no such table"):
            await short.keep_running()


async def test_a_part_that_has_ended_is_not_up() -> None:
    short = part("print('relaying')")

    with pytest.raises(CannotStart):
        await short.keep_running()

    assert not short.is_up.is_set()


async def test_later_a_part_that_keeps_ending_is_started_again_later_each_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with kept_running(part("print('relaying')", stack_is_ready=True)):
        log = await log_with("(starting again.*){5}", capsys)

    rests = [float(rest) for rest in re.findall(r"starting again in (\S+) s", log)][:5]
    assert rests == sorted(rests)
    assert rests[-1] >= 1.6


@pytest.mark.parametrize(
    ("name", "value", "largest"),
    [("PORT", "http", 65_000), ("PORT", "0", 65_000), ("INSTANCES", "51", 50), ("INSTANCES", "1.5", 50)],
)
def test_a_wrong_number_is_refused_by_its_variable(name: str, value: str, largest: int) -> None:
    with pytest.raises(
        CannotStart, match=f"^{name}: '{value}' is not accepted; write a whole number from 1 to {largest}$"
    ):
        layout_of({name: value})
