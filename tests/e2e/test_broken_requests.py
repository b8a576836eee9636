"""What breaks after content has left, and what should never have been asked."""

import json

import httpx2
import pytest

from tests.e2e.stack import Stack, wait_for


@pytest.mark.parametrize("fault", ["cut", "error"])
@pytest.mark.parametrize("model", ["claude-sonnet", "gpt-4o", "gemini-pro"])
def test_a_stream_that_breaks_ends_with_an_error_and_without_done(stack: Stack, model: str, fault: str) -> None:
    asked = f"One two three four five six seven [sandbox: anthropic={fault} openai={fault} gemini={fault}]"
    answer = stack.chat(asked, model=model, stream=True)

    assert answer.status_code == 200
    assert "[DONE]" not in answer.text
    assert '"code":"stream_broken"' in answer.text.split("\n\n")[-2]


@pytest.mark.parametrize("fault", ["cut", "error"])
def test_a_stream_that_breaks_is_continued_by_the_next_model(stack: Stack, fault: str) -> None:
    answer = stack.chat(f"One two three four five [sandbox: anthropic={fault}]", stream=True)

    chunks = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n")[:-2]]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text.startswith("[sandbox")
    assert "[sandbox openai gpt-4o] You said: Your answer was cut off" in text
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert answer.text.endswith("data: [DONE]\n\n")


def test_what_is_bad_is_sent_nowhere(stack: Stack) -> None:
    httpx2.delete(f"{stack.sandbox_url}/requests", timeout=5)
    url = f"{stack.url}/v1/chat/completions"
    bad = [
        httpx2.post(url, content=b"{", headers={"content-type": "application/json"}),
        httpx2.post(url, content=b'{"model":"gpt-4o"}', headers={"content-type": "text/plain"}),
        httpx2.post(url, json=[]),
        httpx2.post(url, json={"model": "gpt-4o", "messages": []}),
        httpx2.post(url, json={"model": "gpt-4o", "messages": [{"role": "robot", "content": "x"}]}),
        httpx2.post(url, content=b" " * (21 * 1024 * 1024), headers={"content-type": "application/json"}, timeout=30),
    ]

    assert [answer.status_code for answer in bad] == [400, 415, 400, 400, 400, 413]
    assert all(answer.json()["error"]["message"] for answer in bad)
    assert stack.sandbox("/requests") == []


def test_a_client_that_leaves_midway_pays_for_what_was_said(own_stack: Stack) -> None:
    body = {
        "model": "claude-sonnet",
        "messages": [{"role": "user", "content": "word " * 200 + "[sandbox: anthropic=slow]"}],
        "stream": True,
    }
    with httpx2.stream("POST", f"{own_stack.url}/v1/chat/completions", json=body, timeout=30) as answer:
        pieces = answer.iter_bytes()
        while b"said" not in next(pieces):
            pass

    spent = wait_for(lambda: own_stack.get("/global/spend")["spend"])
    whole = (260 * 3e-6) + (260 * 15e-6)
    assert 0 < spent < whole
