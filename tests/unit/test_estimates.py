"""What an answer is taken to have consumed where its provider did not say."""

from typing import Any

import pytest

from events.spend import Usage
from functions.gateway.estimates import interrupted_usage, tokens_of

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "description": "x" * 400}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "x" * 400}}


def asked(*messages: Any, **fields: Any) -> int:
    return interrupted_usage(None, {"messages": list(messages) or [USER], **fields}, "").input_tokens


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("abcd", 1), ("abcde", 2), ("é", 1), ("\ud800", 1)])
def test_four_bytes_are_a_token(text: str, tokens: int) -> None:
    assert tokens_of(text) == tokens


def test_what_the_provider_reported_counts_and_the_rest_is_estimated() -> None:
    usage = interrupted_usage(Usage(input_tokens=9, output_tokens=1), {"messages": [USER]}, "x" * 40)

    assert usage == Usage(input_tokens=9, output_tokens=10)


@pytest.mark.parametrize("name", ["tools", "response_format"])
def test_definitions_are_input(name: str) -> None:
    assert asked(**{name: [TOOL]}) - asked() > 100


def test_calls_in_the_conversation_are_input() -> None:
    assert asked(USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}) - asked() > 100


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "document", "text": 5}, {"type": "text", "text": None}]},
        {"role": "assistant", "content": None, "tool_calls": None},
        {"role": "assistant", "tool_calls": [{**CALL, "later": 2**100}]},
    ],
)
def test_odd_messages_are_estimated_too(message: dict[str, Any]) -> None:
    assert asked(USER, message) >= asked(USER)


def test_absent_definitions_are_nothing() -> None:
    assert asked(tools=None, response_format=None, input=None) == asked()
