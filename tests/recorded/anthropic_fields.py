"""What becomes of each field of Anthropic's answers: `mapped`, or why it is dropped.

Blocks are told apart by their type: `content[]<text>.text`. Only an entry of a block that is carried whole stands for
all places inside it.
"""

MAPPED = "mapped"
# Blocks that OpenAI has no word for are carried whole, in `provider_specific_fields.content_blocks`.
CARRIED = (
    "advisor_tool_result", "bash_code_execution_tool_result", "code_execution_tool_result", "compaction",
    "mcp_tool_result", "mcp_tool_use", "server_tool_use", "text_editor_code_execution_tool_result",
    "tool_search_tool_result", "web_fetch_tool_result", "web_search_tool_result",
)  # fmt: skip

_ALWAYS_ASSISTANT = "always assistant, as in OpenAI's message"
_REST = "what cache_creation_input_tokens has beside the writes for an hour"
_IN_PIECES = "empty, as the input follows in pieces; one that comes whole is mapped"
_AT_THE_END = "null, and said at the end; in a message that comes whole it is mapped"
_CONTINUED = "the fields beside it say what continues"
_NOTHING = "null or empty, which says nothing"

_USAGE = (
    "cache_creation.ephemeral_1h_input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
    "fallback_credit.status.type", "inference_geo", "input_tokens", "output_tokens",
    "output_tokens_details.thinking_tokens", "server_tool_use.web_fetch_requests",
    "server_tool_use.web_search_requests", "service_tier", "speed",
    "iterations[].cache_creation.ephemeral_1h_input_tokens", "iterations[].cache_creation.ephemeral_5m_input_tokens",
    "iterations[].cache_creation_input_tokens", "iterations[].cache_read_input_tokens", "iterations[].input_tokens",
    "iterations[].model", "iterations[].output_tokens", "iterations[].type",
)  # fmt: skip
_NO_USAGE = ("iterations", "output_tokens_details", "server_tool_use")
_CITATION = (
    "cited_text", "document_index", "document_title", "encrypted_index", "end_block_index", "end_char_index",
    "end_page_number", "file_id", "search_result_index", "source", "start_block_index", "start_char_index",
    "start_page_number", "title", "type", "url",
)  # fmt: skip
_STOP_DETAILS = (
    "category", "explanation", "fallback_credit_token", "fallback_has_prefill_claim", "recommended_model", "type",
)  # fmt: skip
_CONTAINER = ("expires_at", "id")
_TOOL_USE = ("caller.tool_id", "caller.type", "id", "input", "name", "type")
_TEXT = ("text", "type")
_THINKING = ("signature", "thinking", "type")
_REDACTED_THINKING = ("data", "type")


def _all(prefix: str, *names: str, treatment: str = MAPPED) -> dict[str, str]:
    return {f"{prefix}{name}": treatment for name in names}


ANSWER: dict[str, str] = {
    **{f"content[]<{kind}>": MAPPED for kind in CARRIED},
    **_all("content[]<text>.citations[].", *_CITATION),
    **_all("content[]<text>.", *_TEXT),
    "content[]<text>.citations": _NOTHING,
    **_all("content[]<thinking>.", *_THINKING),
    **_all("content[]<redacted_thinking>.", *_REDACTED_THINKING),
    **_all("content[]<tool_use>.", *_TOOL_USE),
    **_all("container.", *_CONTAINER),
    "container": _NOTHING,
    "content": "nothing was said",
    "context_management.applied_edits": MAPPED,
    "context_management": _NOTHING,
    "id": MAPPED,
    "model": MAPPED,
    "role": _ALWAYS_ASSISTANT,
    **_all("stop_details.", *_STOP_DETAILS),
    "stop_details": _NOTHING,
    "stop_reason": MAPPED,
    "stop_sequence": MAPPED,
    "type": MAPPED,
    **_all("usage.", *_USAGE),
    **_all("usage.", *_NO_USAGE, treatment=_NOTHING),
    "usage.cache_creation.ephemeral_5m_input_tokens": _REST,
}

_PIECES = {
    "citations": (*(f"citation.{name}" for name in _CITATION),),
    "compaction": ("content", "encrypted_content"),
    "input_json": ("partial_json", "type"),
    "signature": ("signature",),
    "text": ("text", "type"),
    "thinking": ("thinking", "type"),
}
_BLOCKS = {"redacted_thinking": _REDACTED_THINKING, "text": _TEXT, "thinking": _THINKING, "tool_use": _TOOL_USE}

_DELTAS: dict[str, str] = {
    **{f"content_block_delta<{kind}_delta> delta.{name}": MAPPED for kind, names in _PIECES.items() for name in names},
    **{f"content_block_delta<{kind}_delta> {name}": MAPPED for kind in _PIECES for name in ("index", "type")},
    **{
        f"content_block_delta<{kind}_delta> delta.type": _CONTINUED for kind in ("citations", "compaction", "signature")
    },
}
_STARTS: dict[str, str] = {
    **{f"content_block_start<{kind}>": MAPPED for kind in CARRIED},
    **{
        f"content_block_start<{kind}> content_block.{name}": MAPPED for kind, names in _BLOCKS.items() for name in names
    },
    **{f"content_block_start<{kind}> {name}": MAPPED for kind in _BLOCKS for name in ("index", "type")},
    "content_block_start<mcp_tool_use> content_block.input": _IN_PIECES,
    "content_block_start<text> content_block.citations": MAPPED,
    "content_block_start<tool_use> content_block.input": _IN_PIECES,
}
_BEGINNING: dict[str, str] = {
    **_all("message_start message.container.", *_CONTAINER),
    "message_start message.container": _AT_THE_END,
    "message_start message.content": "the blocks follow in events of their own",
    **_all("message_start message.content[].", *_TOOL_USE),
    "message_start message.context_management": _AT_THE_END,
    "message_start message.id": MAPPED,
    "message_start message.model": MAPPED,
    "message_start message.role": _ALWAYS_ASSISTANT,
    **_all("message_start message.", "stop_details", "stop_reason", "stop_sequence", treatment=_AT_THE_END),
    "message_start message.type": "the event's own type says it",
    **_all("message_start message.usage.", *_USAGE),
    **_all("message_start message.usage.", *_NO_USAGE, treatment=_AT_THE_END),
    "message_start message.usage.cache_creation.ephemeral_5m_input_tokens": _REST,
    "message_start type": MAPPED,
}
_END: dict[str, str] = {
    "message_delta context_management.applied_edits": MAPPED,
    "message_delta context_management": _NOTHING,
    **_all("message_delta delta.container.", *_CONTAINER),
    "message_delta delta.container": _NOTHING,
    **_all("message_delta delta.stop_details.", *_STOP_DETAILS),
    "message_delta delta.stop_details": _NOTHING,
    "message_delta delta.stop_reason": MAPPED,
    "message_delta delta.stop_sequence": MAPPED,
    "message_delta type": MAPPED,
    **_all("message_delta usage.", *_USAGE),
    **_all("message_delta usage.", *_NO_USAGE, treatment=_NOTHING),
    "message_delta usage.cache_creation.ephemeral_5m_input_tokens": _REST,
    "message_stop type": "ends only a message that gave no reason",
}
STREAM: dict[str, str] = {
    **_DELTAS,
    **_STARTS,
    **_BEGINNING,
    **_END,
    "content_block_stop index": MAPPED,
    "content_block_stop type": "says something only of a call that has had no pieces of input",
    "ping type": "keeps the connection alive",
}


# What the API documents for these objects may come wherever they do, and was not recorded in each of the places.
_DOCUMENTED = (
    *(f"usage.{name}" for name in (*_USAGE, *_NO_USAGE, "cache_creation.ephemeral_5m_input_tokens")),
    *(f"citations[].{name}" for name in _CITATION),
    *(f"citation.{name}" for name in _CITATION),
    *(f"stop_details.{name}" for name in _STOP_DETAILS),
    "citations",
    "container",
    "context_management",
)
RARE = frozenset(entry for entry in (*ANSWER, *STREAM) if entry.endswith(_DOCUMENTED))


def entry_of(place: str, table: dict[str, str]) -> str | None:
    """Give the entry that stands for a place: its own, or that of the carried block that it is in."""
    block = f"{place.partition('>')[0]}>"
    return place if place in table else block if block in table else None
