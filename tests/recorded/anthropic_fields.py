"""What becomes of each field of Anthropic's answers: `mapped`, or why it is dropped.

An entry stands for its place and all places inside it, unless one of those has an entry of its own. Blocks are told
apart by their type: `content[]<text>.text`.
"""

MAPPED = "mapped"
# Blocks that OpenAI has no word for are carried whole, in `provider_specific_fields.content_blocks`.
CARRIED = (
    "advisor_tool_result", "bash_code_execution_tool_result", "code_execution_tool_result", "compaction",
    "mcp_tool_result", "mcp_tool_use", "server_tool_use", "text_editor_code_execution_tool_result",
    "tool_search_tool_result", "web_fetch_tool_result", "web_search_tool_result",
)  # fmt: skip
OWN = ("text", "thinking", "redacted_thinking", "tool_use")

_ALWAYS_ASSISTANT = "always assistant, as in OpenAI's message"
_REST = "what cache_creation_input_tokens has beside the writes for an hour"
_IN_PIECES = "empty, as the input follows in pieces; one that comes whole is mapped"
_AT_THE_END = "null, and said at the end; in a message that comes whole it is mapped"
_CONTINUED = "the fields beside it say what continues"

ANSWER: dict[str, str] = {
    **{f"content[]<{kind}>": MAPPED for kind in (*CARRIED, *OWN)},
    "container": MAPPED,
    "content": "nothing was said",
    "context_management": MAPPED,
    "id": MAPPED,
    "model": MAPPED,
    "role": _ALWAYS_ASSISTANT,
    "stop_details": MAPPED,
    "stop_reason": MAPPED,
    "stop_sequence": MAPPED,
    "type": MAPPED,
    "usage": MAPPED,
    "usage.cache_creation.ephemeral_5m_input_tokens": _REST,
}

_KINDS_OF_DELTA = ("citations", "compaction", "input_json", "signature", "text", "thinking")

STREAM: dict[str, str] = {
    **{f"content_block_delta<{kind}_delta>": MAPPED for kind in _KINDS_OF_DELTA},
    **{f"content_block_start<{kind}>": MAPPED for kind in (*CARRIED, *OWN)},
    "content_block_delta<compaction_delta> delta.type": _CONTINUED,
    "content_block_delta<citations_delta> delta.type": _CONTINUED,
    "content_block_delta<signature_delta> delta.type": _CONTINUED,
    "content_block_start<mcp_tool_use> content_block.input": _IN_PIECES,
    "content_block_start<tool_use> content_block.input": _IN_PIECES,
    "content_block_stop": MAPPED,
    "content_block_stop type": "says something only of a call that has had no pieces of input",
    "message_delta": MAPPED,
    "message_start": MAPPED,
    "message_start message.content": "the blocks follow in events of their own",
    "message_start message.content[]": MAPPED,
    "message_start message.role": _ALWAYS_ASSISTANT,
    "message_start message.stop_details": _AT_THE_END,
    "message_start message.stop_reason": _AT_THE_END,
    "message_start message.stop_sequence": _AT_THE_END,
    "message_start message.type": "the event's own type says it",
    "message_start message.usage.cache_creation.ephemeral_5m_input_tokens": _REST,
    "message_stop": MAPPED,
    "ping": "keeps the connection alive",
}


def treatment_of(place: str, table: dict[str, str]) -> tuple[str, str] | None:
    """Give the entry that stands for a place, the innermost of several, and what it says."""
    entries = [entry for entry in table if place == entry or place.startswith((f"{entry}.", f"{entry}[", f"{entry} "))]
    return max(((entry, table[entry]) for entry in entries), key=lambda found: len(found[0]), default=None)
