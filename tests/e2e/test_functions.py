"""The three functions as the framework serves them, asked directly: what they take, refuse and keep."""

import base64
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from events.codec import Event, encode
from tests.builders import key, key_created, spend, threshold_crossed
from tests.e2e.stack import ROOT, Stack, clean_environment, wait_for
from tests.emulators import free_port

BIN = Path(sys.executable).parent


def deliver(url: str, data: Any, *, headers: Mapping[str, str] | None = None) -> int:
    """Post a CloudEvent as Eventarc does, and give the status."""
    envelope = {
        "ce-id": "1",
        "ce-source": "//pubsub.googleapis.com/projects/local/topics/any",
        "ce-specversion": "1.0",
        "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
        **(headers or {}),
    }
    return httpx2.post(url, json=data, headers=envelope, timeout=20).status_code


def message(raw: bytes) -> dict[str, Any]:
    return {"message": {"data": base64.b64encode(raw).decode(), "messageId": "1"}, "subscription": "s"}


def published(event: Event) -> dict[str, Any]:
    return message(encode(event))


def dead_letters(stack: Stack) -> list[tuple[str, str]]:
    """Topic and reason of everything that was given up."""
    with sqlite3.connect(Path(stack.environment["STATE_DIR"]) / "bus.sqlite3") as connection:
        rows = connection.execute("SELECT topic, reason FROM dead_letters ORDER BY message_id").fetchall()
    connection.close()
    return rows


def put_on_bus(stack: Stack, topic: str, *raws: bytes) -> None:
    with sqlite3.connect(Path(stack.environment["STATE_DIR"]) / "bus.sqlite3", timeout=10) as connection:
        rows = [(topic, raw) for raw in raws]
        connection.executemany("INSERT INTO messages (topic, data, published_at, due_at) VALUES (?, ?, 0, 0)", rows)
    connection.close()


def test_a_duplicate_delivery_is_folded_once(own_stack: Stack) -> None:
    event = spend("dup-1", cost=1_000_000_000)
    statuses = [deliver(own_stack.fold_url, published(event)) for _ in range(3)]

    assert statuses == [200, 200, 200]
    done = subprocess.run(
        [sys.executable, "-m", "functions.replay"],
        cwd=ROOT,
        env=own_stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "1 counters replayed, 0 differ\n"
    ledger = sqlite3.connect(Path(own_stack.environment["STATE_DIR"]) / "ledger.sqlite3")
    assert ledger.execute("SELECT spent FROM counters").fetchall() == [(1_000_000_000,)]
    ledger.close()


def test_what_can_never_be_folded_is_kept_with_its_reason_and_harms_nothing(own_stack: Stack) -> None:
    unknown = json.dumps(json.loads(encode(spend("x"))) | {"type": "spend.recorded.v9"}).encode()
    put_on_bus(own_stack, "spend-events", b"{nonsense", unknown, encode(spend("good", cost=7)), b"[]")
    put_on_bus(own_stack, "spend-events", encode(key_created(key())))
    put_on_bus(own_stack, "budget-alerts", encode(spend("no-alert")))

    wait_for(lambda: len(dead_letters(own_stack)) == 5)
    wait_for(lambda: own_stack.get("/global/spend")["spend"] >= 0)
    reasons = sorted(f"{topic}: {reason}" for topic, reason in dead_letters(own_stack))
    assert reasons[0] == "budget-alerts: spend.recorded.v1 is no alert"
    assert reasons[1] == "spend-events: key.created.v1 is nothing to fold"
    assert reasons[2].startswith("spend-events: not JSON: ")
    assert reasons[3] == "spend-events: not a JSON object but list"
    known = "known are budget.projected_exceeded.v1, budget.soft_budget_crossed.v1"
    assert reasons[4].startswith(f"spend-events: unknown event type 'spend.recorded.v9'; {known}")
    ledger = sqlite3.connect(Path(own_stack.environment["STATE_DIR"]) / "ledger.sqlite3")
    wait_for(lambda: ledger.execute("SELECT event_id FROM events").fetchall() == [("good",)])
    ledger.close()


def test_a_delivery_without_a_message_is_kept_too(own_stack: Stack) -> None:
    odd: list[Any] = [{}, {"message": 5}, {"message": {"data": "%%%"}}, [], "text"]
    for data in odd:
        assert deliver(own_stack.fold_url, data) == 200
        assert deliver(own_stack.alert_url, data) == 200

    assert [topic for topic, _ in dead_letters(own_stack)] == ["spend-events", "budget-alerts"] * len(odd)
    assert httpx2.post(own_stack.fold_url, content=b"no CloudEvent", timeout=20).status_code == 400


def test_an_alert_that_is_delivered_twice_is_sent_once(own_stack: Stack) -> None:
    alert = published(threshold_crossed(80))

    assert [deliver(own_stack.alert_url, alert) for _ in range(2)] == [200, 200]
    assert [sent["id"] for sent in own_stack.sandbox("/alerts")] == ["global:2026-11-24:80"]


@contextmanager
def served(target: str, signature: str, state_dir: Path, *options: str) -> Generator[str]:
    """One function under the framework's own command, as anybody would start it."""
    port = free_port()
    command = [str(BIN / "functions-framework"), "--target", target, "--source", "main.py"]
    command += ["--signature-type", signature, "--host", "127.0.0.1", "--port", str(port), *options]
    environment = clean_environment() | {
        "GATEWAY_BACKEND": "embedded",
        "STATE_DIR": str(state_dir),
        "XDG_RUNTIME_DIR": str(state_dir),
    }
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet) as process:
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_for(lambda: _answers(f"{url}health/liveliness"))
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code < 500
    except httpx2.HTTPError:
        return False


@pytest.mark.parametrize("options", [[], ["--debug"]], ids=["production server", "development server"])
def test_each_function_is_served_in_a_process_of_its_own(tmp_path: Path, options: list[str]) -> None:
    with served("completion", "http", tmp_path, *options) as url:
        assert httpx2.get(f"{url}health/readiness", timeout=20).json() == {"status": "healthy", "db": "connected"}
    with served("fold_spend", "cloudevent", tmp_path, *options) as url:
        assert deliver(url, published(spend("e-1", cost=5))) == 200
    with served("send_alert", "cloudevent", tmp_path, *options) as url:
        assert deliver(url, published(threshold_crossed(50))) == 200


def test_a_store_that_can_not_be_opened_is_refused_in_openais_words_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").mkdir()
    with served("completion", "http", tmp_path) as url:
        refused = httpx2.get(f"{url}v1/models", timeout=20)
        alive = httpx2.get(f"{url}health/liveliness", timeout=20)
        (tmp_path / "ledger.sqlite3").rmdir()
        taken = httpx2.get(f"{url}v1/models", timeout=20)

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
    assert (alive.status_code, alive.json()) == (200, "I'm alive!")
    assert taken.status_code == 200


def test_the_framework_loads_our_packages_and_not_their_namesakes(tmp_path: Path) -> None:
    """It appends the source's folder to the path, so that an installed package of the same name would win."""
    code = (
        "from functions_framework._function_registry import load_function_module\n"
        "module, spec = load_function_module(__import__('sys').argv[1])\n"
        "spec.loader.exec_module(module)\n"
        "import events.codec, functions.bootstrap\n"
        "print(events.codec.__file__, functions.bootstrap.__file__, sep='\\n')\n"
    )
    command = [sys.executable, "-P", "-c", code, str(ROOT / "main.py")]
    shown = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=True)

    assert shown.stdout.split() == [str(ROOT / "events/codec.py"), str(ROOT / "functions/bootstrap.py")]


def test_importing_main_imports_no_sdk() -> None:
    code = "import main, sys; print(*sys.modules)"
    environment = clean_environment() | {"PATH": os.environ["PATH"]}
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)

    loaded = set(shown.stdout.split())
    assert "functions.bootstrap" in loaded
    assert not loaded & {"openai", "anthropic", "google.genai", "google.cloud.firestore_v1", "google.pubsub_v1", "grpc"}
