"""The ledger as a file: written from one store, taken into another."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from events.codec import Event, encode
from events.keys import KeyEvent, KeyRegenerated, event_id_of
from events.money import NanoUsd
from events.spend import Scopes
from events.tick import Ticked
from functions.adapters.embedded.stores import open_embedded
from functions.adapters.stores import Stores
from functions.gateway.folding import commit_new
from functions.gateway.importing import in_order
from functions.gateway.limits import Defaults
from functions.ledger import export_to, import_from
from functions.replay import compare
from tests.builders import (
    NOON,
    TODAY,
    allowance,
    budget,
    failure,
    key,
    key_created,
    key_deleted,
    key_updated,
    spend,
    threshold_crossed,
)
from tests.e2e.stack import ROOT, clean_environment

KEY = key("a", key_alias="ci", max_budget=NanoUsd(10**9), budget_duration="1mo")
OF_MINE = Scopes(key_hash=KEY.key_id)
MINE = f"key:{KEY.key_id}:2026-11"


@pytest.fixture
async def full(tmp_path: Path) -> AsyncGenerator[Stores]:
    """A store in which things have happened: an alias has gone from one key to another, and one key was replaced."""
    async with open_embedded(tmp_path / "full") as stores:
        mine: dict[str, Any] = {"scopes": OF_MINE, "allowance_ids": (f"{MINE}|a",)}
        spends = [spend(f"s-{number}", cost=number, **mine) for number in range(450)]
        await commit_new([*spends[:300], failure("f", cost=7), failure("g")], stores.ledger, [budget()])
        await commit_new(spends[300:], stores.ledger, [budget()])
        for event in key_changes():
            await stores.keys.commit([event])
        yield stores


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with open_embedded(tmp_path / "empty") as stores:
        yield stores


def key_changes() -> list[KeyEvent]:
    """A key `z` that had the alias of `a` before it, which is deleted, and one that is another now."""
    z, a = key("z", key_alias="ci"), KEY
    made = key_created(key("m"))
    renewed = KeyRegenerated(
        event_id=event_id_of(made.after.key_id, 2),
        time=NOON + timedelta(seconds=4),
        actor="master",
        before=made.after,
        after=replace(made.after, key_hash=key("n").key_hash, version=2),
    )
    return [
        key_created(z),
        replace(key_deleted(z), time=NOON + timedelta(seconds=1)),
        replace(key_created(a), time=NOON + timedelta(seconds=2)),
        replace(key_updated(a, blocked=True), time=NOON + timedelta(seconds=3)),
        made,
        renewed,
    ]


async def exported(stores: Stores) -> bytes:
    file = BytesIO()
    await export_to(file, stores.ledger)
    return file.getvalue()


async def imported(stores: Stores, lines: bytes, now: datetime = NOON) -> int:
    return await import_from(BytesIO(lines), stores, [budget()], Defaults(), now)


def lines_of(events: Iterable[Event]) -> bytes:
    return b"".join(encode(event) + b"\n" for event in events)


@pytest.mark.parametrize("order", [sorted, list, lambda lines: sorted(lines, reverse=True)])
async def test_an_imported_ledger_is_the_exported_one(
    full: Stores, empty: Stores, capsys: pytest.CaptureFixture[str], order: type[list[bytes]]
) -> None:
    """However the lines are ordered: one backend gives them by their ids."""
    lines = (await exported(full)).splitlines(keepends=True)

    assert await imported(empty, b"".join(order(lines))) == 0
    assert capsys.readouterr().out == "458 events are new, 0 were known, 0 are refused\n"
    assert sorted((await exported(empty)).splitlines(keepends=True)) == sorted(lines)
    assert await compare(empty, [budget()], repair=False) == 0
    assert await empty.keys.get(key("n").key_hash) == await full.keys.get(key("n").key_hash) is not None


async def test_importing_again_changes_nothing(full: Stores, empty: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    lines = await exported(full)
    await imported(empty, lines)
    capsys.readouterr()

    assert await imported(empty, lines) == await imported(full, lines) == 0
    assert capsys.readouterr().out == "0 events are new, 458 were known, 0 are refused\n" * 2
    assert await compare(empty, [budget()], repair=False) == 0


async def test_an_import_that_broke_off_is_taken_up(full: Stores, empty: Stores) -> None:
    lines = await exported(full)
    await imported(empty, b"\n".join(lines.splitlines()[:123]))

    assert await imported(empty, lines) == 0
    assert sorted((await exported(empty)).splitlines()) == sorted(lines.splitlines())
    assert await compare(empty, [budget()], repair=False) == 0


async def test_what_was_spent_elsewhere_can_not_be_spent_again(full: Stores, empty: Stores) -> None:
    lines = await exported(full)
    for _ in range(2):
        await imported(empty, lines)

    for counter in (TODAY, MINE):
        assert await empty.gate.admitted(counter) == (await empty.counters.read(counter)).spent > 0
    assert await empty.gate.unsettled(NOON + timedelta(days=40_000)) == []


async def test_an_import_leaves_nothing_that_is_never_forgotten(full: Stores, empty: Stores) -> None:
    await imported(empty, await exported(full))
    names = [name async for name, _ in empty.counters.all()]
    forgotten = await empty.gate.sweep(datetime(2026, 12, 9, tzinfo=UTC), limit=100)

    assert names == [TODAY, MINE]
    assert forgotten == 4  # what was handed out in two windows, and their gates
    assert [await empty.gate.admitted(counter) for counter in (TODAY, MINE)] == [0, 0]


async def test_what_was_spent_of_a_budget_without_an_end_stays_handed_out(empty: Stores) -> None:
    forever = replace(KEY, budget_duration=None)
    counter = f"key:{KEY.key_id}:all"
    spent = spend("a", cost=5, scopes=OF_MINE, allowance_ids=(f"{counter}|a",))

    await imported(empty, lines_of([spent, key_created(forever)]))
    await empty.gate.sweep(NOON + timedelta(days=4_000), limit=100)

    assert await empty.gate.admitted(counter) == 5


async def test_of_a_window_that_is_over_nothing_is_handed_out(full: Stores, empty: Stores) -> None:
    await imported(empty, await exported(full), NOON + timedelta(days=60))

    assert [await empty.gate.admitted(counter) for counter in (TODAY, MINE)] == [0, 0]
    assert await compare(empty, [budget()], repair=False) == 0


async def test_an_import_takes_nothing_from_what_is_handed_out(empty: Stores) -> None:
    held = allowance("here", 100)
    await empty.gate.take(held, limit=NanoUsd(100))

    await imported(empty, lines_of([spend("a", cost=30, allowance_ids=(held.allowance_id,))]))

    assert await empty.gate.admitted(TODAY) == 100
    assert (await empty.counters.read(TODAY)).spent == 30


async def test_lines_that_are_no_events_of_a_ledger_are_refused_and_the_rest_is_taken(
    empty: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    renamed = replace(key_created(key("a")), event_id="key:b:000001")
    lines = [
        encode(spend("a", cost=5)),
        b"{",
        b"",
        encode(threshold_crossed()),
        encode(Ticked(event_id="tick", time=NOON)),
        encode(renamed),
        encode(spend("a", cost=5)),
        encode(spend("b", cost=7)),
    ]

    assert await imported(empty, b"\n".join(lines)) == 1
    said = capsys.readouterr()
    assert said.out == "2 events are new, 1 were known, 4 are refused\n"
    told = said.err.splitlines()
    assert [line.partition(":")[0] for line in told] == ["line 2", "line 4", "line 5", "line 6"]
    assert told[0].startswith("line 2: not JSON")
    assert told[2] == "line 5: tick.v1 is nothing that a ledger has"
    assert (await empty.counters.read(TODAY)).spent == 12


async def test_changes_that_contradict_those_there_are_refused(
    empty: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    await empty.keys.commit([key_created(key("a", key_alias="ci"))])
    others = [key_created(key("a", key_alias="cd")), key_created(key("b", key_alias="ci"))]

    assert await imported(empty, lines_of(others)) == 1
    assert capsys.readouterr().err == (
        "line 1: another change of this version of the key is recorded\nline 2: another key has this alias\n"
    )


async def test_an_older_change_does_not_undo_a_later_one(empty: Stores) -> None:
    created, updated = key_created(key("a")), key_updated(key("a"), blocked=True)
    await imported(empty, lines_of([updated]))
    assert await imported(empty, lines_of([created])) == 0

    assert await empty.keys.get(key("a").key_hash) == updated.after
    assert await compare(empty, [budget()], repair=False) == 0


def test_changes_of_one_key_are_taken_by_version_whatever_the_clocks_said() -> None:
    created, updated = key_created(key("a")), key_updated(key("a"))
    early = replace(updated, time=NOON - timedelta(hours=1))
    between = replace(key_created(key("b")), time=NOON - timedelta(minutes=1))

    ordered = [event for _, event in in_order([(1, early), (2, created), (3, between)])]

    assert ordered == [between, created, early]


def command(*arguments: str, state_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator does."""
    return subprocess.run(
        [sys.executable, "-m", "functions.ledger", *arguments],
        cwd=ROOT,
        env=clean_environment() | {"GATEWAY_BACKEND": "embedded", "STATE_DIR": str(state_dir)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def _spent(state_dir: Path) -> None:
    async with open_embedded(state_dir) as stores:
        await stores.ledger.commit([spend("a", cost=5)], {TODAY: 5})


def test_the_command_writes_a_file_and_takes_it_elsewhere(tmp_path: Path) -> None:
    asyncio.run(_spent(tmp_path / "one"))
    file = tmp_path / "ledger.jsonl"

    out = command("export", "--out", str(file), state_dir=tmp_path / "one")
    taken = command("import", str(file), state_dir=tmp_path / "two")
    shown = command("export", state_dir=tmp_path / "two")

    assert (out.returncode, out.stdout, out.stderr) == (0, "", "1 events are exported\n")
    assert (taken.returncode, taken.stdout) == (0, "1 events are new, 0 were known, 0 are refused\n")
    assert shown.stdout == file.read_text()
    assert json.loads(shown.stdout)["specversion"] == "1.0"
    assert [path.name for path in tmp_path.glob("ledger*")] == ["ledger.jsonl"]


def test_an_export_of_nothing_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text("mine")

    done = command("export", "--out", str(tmp_path / "ledger.jsonl"), state_dir=tmp_path / "typo")

    assert (done.returncode, done.stderr.partition(" at ")[0]) == (2, "There is no ledger")
    assert (tmp_path / "ledger.jsonl").read_text() == "mine"


@pytest.mark.parametrize("arguments", [["import", "/no/such/file"], ["import"], ["export", "--ou", "x"], []])
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    assert command(*arguments, state_dir=tmp_path).returncode == 2
