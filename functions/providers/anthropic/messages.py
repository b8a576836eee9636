"""A conversation as `system` and turns. Source: https://platform.claude.com/docs/en/build-with-claude/working-with-messages"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from functions.gateway.errors import BadRequest
from functions.providers.anthropic.content import Block, blocks_of, with_cache_control
from functions.providers.calls import object_in
from functions.providers.parts import malformed_requests

_TOOL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_FOREIGN_THOUGHT = "__thought__"  # what follows it in an id is another provider's
_SYSTEM_ROLES = ("system", "developer")
THINKING = ("thinking", "redacted_thinking")
_NOTHING_SAID = "."  # the API wants a first turn of the user's, with some text

Turn = dict[str, Any]


@dataclass(slots=True)
class Conversation:
    """`system` are text blocks, `turns` alternate between user and assistant, with system messages between."""

    system: list[Block] = field(default_factory=list[Block])
    turns: list[Turn] = field(default_factory=list[Turn])


def conversation(messages: Sequence[Mapping[str, Any]], *, takes_mid_system: bool) -> Conversation:
    """Read the messages. Raises `BadRequest`, `UpstreamError`.

    Neighbours of one role become one turn, as tool results must stand together after their calls. A later system
    message stands after the user's turn that it is in or after, if the model takes it there and no other place is left:
    https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages
    """
    talk = Conversation()
    pending: list[Block] = []
    are_named = _are_named(messages)
    with malformed_requests("Anthropic") as reading:
        for position, message in enumerate(messages):
            reading.param = f"messages[{position}]"
            blocks = _blocks(message, reading.param)
            if _is_blank(blocks):
                continue
            if message["role"] in _SYSTEM_ROLES:
                (pending if takes_mid_system and talk.turns else talk.system).extend(blocks)
                continue
            if message["role"] == "assistant":
                _place_system(talk, pending)
            _add(talk.turns, message, blocks, is_named=are_named)
    _place_system(talk, pending)
    _begin_with_user(talk)
    return talk


def leave_out_thinking(talk: Conversation) -> None:
    """Leave the thinking blocks out, as a request that doesn't think is refused with them.

    "When thinking is disabled, an `assistant` message in the final position cannot contain `thinking`" is the API's
    answer: https://github.com/tailcallhq/forgecode/issues/1853. Elsewhere it ignores them.
    """
    for turn in talk.turns:
        if turn["role"] == "assistant":
            said = [block for block in turn["content"] if block["type"] not in THINKING]
            turn["content"] = turn["content"] if _is_blank(said) else said


def _place_system(talk: Conversation, pending: list[Block]) -> None:
    """Put pending system blocks after a user's turn; after an assistant's there is no place for them but the top."""
    if not pending:
        return
    if talk.turns[-1]["role"] == "user":
        talk.turns.append({"role": "system", "content": [*pending]})
    else:
        talk.system.extend(pending)
    pending.clear()


def _begin_with_user(talk: Conversation) -> None:
    """The first turn must be the user's; where there are only instructions, they are what the user says."""
    if not talk.turns:
        if not talk.system:
            raise BadRequest("messages: none of them has content.", param="messages")
        talk.turns, talk.system = [{"role": "user", "content": talk.system}], []
    elif talk.turns[0]["role"] == "assistant":
        talk.turns.insert(0, {"role": "user", "content": [{"type": "text", "text": _NOTHING_SAID}]})


def _is_blank(blocks: Iterable[Block]) -> bool:
    """Say whether there is nothing but white space.

    The API refuses a message of that ("text content blocks must contain non-whitespace text"), and takes it beside
    other blocks.
    """
    return all(block["type"] == "text" and not block["text"].strip() for block in blocks)


def _add(turns: list[Turn], message: Mapping[str, Any], blocks: list[Block], *, is_named: bool) -> None:
    role = "assistant" if message["role"] == "assistant" else "user"
    if is_named and message.get("name") and message["role"] == "user":
        blocks = [{"type": "text", "text": f"{message['name']}:"}, *blocks]
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _are_named(messages: Iterable[Mapping[str, Any]]) -> bool:
    """Say whether names tell users apart; a single one tells the model nothing."""
    return len({message.get("name") for message in messages if message["role"] == "user"}) > 1


def _blocks(message: Mapping[str, Any], path: str) -> list[Block]:
    if message["role"] == "tool":
        return [_tool_result(message, path)]
    if message["role"] == "assistant":
        return with_cache_control(_said(message, path), message)
    return with_cache_control(blocks_of(message["content"], f"{path}.content"), message)


def _said(message: Mapping[str, Any], path: str) -> list[Block]:
    """Give an assistant's turn: as the provider itself gave it, where the client has kept that."""
    content = blocks_of(message.get("content"), f"{path}.content")
    calls = [
        _tool_use(call, f"{path}.tool_calls[{position}]")
        for position, call in enumerate(message.get("tool_calls") or ())
    ]
    extra: Mapping[str, Any] = message.get("provider_specific_fields") or {}
    kept: list[Block] = extra.get("content_blocks") or []
    if kept and _is_the_same(kept, content, calls):
        return [block for block in kept if block["type"] != "text" or block["text"]]
    if not content and message.get("refusal"):
        content = [{"type": "text", "text": message["refusal"]}]
    return [*_own_thinking(message, calls), *content, *calls]


def _is_the_same(kept: list[Block], content: list[Block], calls: list[Block]) -> bool:
    """Say whether the provider's own blocks still say what the message says: a client may have edited it."""
    texts = "".join(block.get("text") or "" for block in kept if block.get("type") == "text")
    ids = [block["id"] for block in kept if block.get("type") == "tool_use"]
    return texts == "".join(block.get("text") or "" for block in content) and ids == [call["id"] for call in calls]


def _own_thinking(message: Mapping[str, Any], calls: list[Block]) -> list[Block]:
    """Give the thinking blocks that are signed, or nothing where the calls show another provider's hand."""
    given: Iterable[Block] = message.get("thinking_blocks") or ()
    if any(_FOREIGN_THOUGHT in call["id"] for call in message.get("tool_calls") or ()):
        return []
    return [
        {name: block[name] for name in ("type", "thinking", "signature", "data") if name in block}
        for block in given
        if block.get("type") in THINKING and (block.get("signature") or block.get("data"))
    ]


def _tool_use(call: Mapping[str, Any], path: str) -> Block:
    function: Mapping[str, Any] = call["function"]
    block = {"type": "tool_use", "id": tool_id(call["id"]), "name": function["name"], "input": _input(function, path)}
    if mark := call.get("cache_control"):
        block["cache_control"] = mark
    return block


def _input(function: Mapping[str, Any], path: str) -> dict[str, Any]:
    value = object_in(function["arguments"] or "{}")
    if value is None:
        param = f"{path}.function.arguments"
        raise BadRequest(f"{param} must be a JSON object.", param=param)
    return value


def _tool_result(message: Mapping[str, Any], path: str) -> Block:
    """Give a tool's result; its parts can't be cached one by one, so that a part's mark becomes the result's."""
    content = blocks_of(message["content"], f"{path}.content")
    mark = message.get("cache_control")
    for block in content:
        mark = block.pop("cache_control", None) or mark
    result: Block = {"type": "tool_result", "tool_use_id": tool_id(message["tool_call_id"])}
    if content:
        result["content"] = content
    if message.get("is_error"):
        result["is_error"] = True
    if mark:
        result["cache_control"] = mark
    return result


def tool_id(call_id: str) -> str:
    """Give an id that the API takes, the same for a call and its result; one that it takes already stays."""
    own = call_id.partition(_FOREIGN_THOUGHT)[0]
    if _TOOL_ID.fullmatch(own):
        return own
    return f"toolu_{hashlib.sha256(call_id.encode()).hexdigest()[:32]}"
