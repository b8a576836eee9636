"""`bash infra/local/up`, as something that others script against."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from tests.e2e.stack import ROOT, Stack, clean_environment, free_base_port, running, wait_for


def processes_of(stack: Stack) -> set[int]:
    """Every living process that belongs to the stack, by its port in the environment."""
    mark = f"PORT={stack.port}".encode()
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark in environment:
                found.add(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_within_ten_seconds_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, {"INSTANCES": "2"}) as stack:
        assert len(processes_of(stack)) > 5
        started = time.monotonic()
        code = stack.stop(number)

        assert code == 0
        assert time.monotonic() - started < 10
        assert processes_of(stack) == set()


def test_a_stream_that_runs_when_it_is_stopped_is_not_dressed_as_complete(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        body = {
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": "word " * 300 + "[sandbox: openai=slow]"}],
            "stream": True,
        }
        with httpx2.stream("POST", f"{stack.url}/v1/chat/completions", json=body, timeout=30) as answer:
            pieces = answer.iter_bytes()
            said = next(pieces)
            stack.process.send_signal(signal.SIGTERM)
            stopping = time.monotonic()
            try:
                for piece in pieces:
                    said += piece
            except httpx2.HTTPError:
                pass
        assert stack.stop() == 0
        assert time.monotonic() - stopping < 10

    assert b"[DONE]" not in said


def test_an_answer_that_is_under_way_when_it_is_stopped_is_finished(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        body = {
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": "Say hello [sandbox: openai=slow]"}],
            "stream": True,
        }
        with httpx2.stream("POST", f"{stack.url}/v1/chat/completions", json=body, timeout=30) as answer:
            pieces = answer.iter_bytes()
            said = next(pieces)
            stack.process.send_signal(signal.SIGTERM)
            said += b"".join(pieces)
        assert stack.stop() == 0

    assert said.endswith(b"data: [DONE]\n\n")


def test_parts_that_die_are_started_again(own_stack: Stack) -> None:
    parts = ["completion", "fold_spend", "send_alert", "relay", "sandbox"]
    killed = {part: own_stack.kill(part) for part in parts}

    wait_for(lambda: all(own_stack.pid_of(part) != killed[part] for part in parts))
    wait_for(lambda: _is_answered(own_stack))
    wait_for(lambda: own_stack.get("/global/spend")["spend"] > 0)


def _is_answered(stack: Stack) -> bool:
    try:
        return stack.chat().is_success
    except httpx2.HTTPError:
        return False


def test_what_was_published_before_a_stop_is_folded_after_the_next_start(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        cost = float(stack.chat("x").headers["x-litellm-response-cost"])
        stack.process.kill()
        stack.process.wait(20)
    with running(tmp_path) as again:
        wait_for(lambda: again.get("/global/spend")["spend"] == pytest.approx(cost, abs=1e-9))


def up(**environment: str) -> subprocess.CompletedProcess[str]:
    given = clean_environment() | {"GATEWAY_BACKEND": "embedded"} | environment
    return subprocess.run(
        ["bash", "infra/local/up"], cwd=ROOT, env=given, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    base = free_base_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 50))
        taken.listen()
        refused = up(PORT=str(base), STATE_DIR=str(tmp_path))

    assert refused.returncode == 1
    assert f"port {base + 50} is in use" in refused.stderr


def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("model_list: [{model_name: m, litellm_params: {model: openai/gpt-4o, speed: 9}}]")

    refused = up(GATEWAY_CONFIG=str(config), STATE_DIR=str(tmp_path), PORT=str(free_base_port()))

    assert refused.returncode == 1
    assert "mine.yaml: model_list[0].litellm_params.speed: is not a known setting; known are " in refused.stderr


def test_a_wrong_variable_is_named_in_one_line(tmp_path: Path) -> None:
    refused = up(GATEWAY_BACKEND="foo", STATE_DIR=str(tmp_path), PORT=str(free_base_port()))

    assert refused.returncode == 1
    assert refused.stderr == "GATEWAY_BACKEND: 'foo' is not accepted; write embedded or google\n"


def test_a_state_folder_that_can_not_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    refused = up(STATE_DIR=str(tmp_path / "file" / "state"), PORT=str(free_base_port()))

    assert refused.returncode == 1
    path = tmp_path / "file" / "state"
    assert refused.stderr == f"STATE_DIR: {path} can't be a folder to write to (Not a directory); set another\n"


def test_the_state_folder_of_another_stack_is_refused(own_stack: Stack) -> None:
    folder = own_stack.environment["STATE_DIR"]

    refused = up(STATE_DIR=folder, PORT=str(free_base_port()))

    assert refused.returncode == 1
    assert refused.stderr == f"STATE_DIR: {folder} is in use by another stack; stop it, or set another\n"


def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = clean_environment() | {"PORT": str(free_base_port()), "STATE_DIR": str(tmp_path)}
    with subprocess.Popen(
        ["bash", "infra/local/up"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=writing, text=True
    ) as process:
        os.close(writing)
        assert process.stdout
        assert process.stdout.readline().startswith("ready http://127.0.0.1:")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == 0


def test_with_provider_keys_the_providers_are_asked_and_without_one_it_is_passed_over(tmp_path: Path) -> None:
    """Another stack's sandbox stands where OpenAI is; Anthropic has no key."""
    with running(tmp_path / "provider") as provider:
        keys = {"OPENAI_API_KEY": "sk-mine", "OPENAI_BASE_URL": f"{provider.sandbox_url}/v1"}
        with running(tmp_path / "gateway", keys) as stack:
            answer = stack.chat("hello", model="claude-sonnet")

            assert "sandbox" not in stack.get("/health")
            expected = "anthropic/claude-sonnet-4-6=no_api_key, openai/gpt-4o=200"
            assert answer.headers["x-gateway-attempts"] == expected
        (request,) = provider.sandbox("/requests")

    assert request["path"] == "/v1/chat/completions"


def test_a_master_key_closes_the_gateway(tmp_path: Path) -> None:
    with running(tmp_path, {"LITELLM_MASTER_KEY": "sk-master-key-1"}) as stack:
        assert stack.chat().status_code == 401
        assert httpx2.get(f"{stack.url}/health", timeout=10).status_code == 200
        with httpx2.Client(headers={"authorization": "Bearer sk-master-key-1"}, timeout=20) as client:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
            assert client.post(f"{stack.url}/chat/completions", json=body).status_code == 200

        assert "sk-master-key-1" not in "".join(stack.log)


def test_the_state_folder_is_found_from_where_the_command_was_given(tmp_path: Path) -> None:
    environment = clean_environment() | {"PORT": str(free_base_port()), "STATE_DIR": "mine"}
    command = ["bash", str(ROOT / "infra/local/up")]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("ready http://127.0.0.1:")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == 0

    assert (tmp_path / "mine" / "bus.sqlite3").exists()
