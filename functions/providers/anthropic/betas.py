"""The `anthropic-beta` header. Source: https://platform.claude.com/docs/en/api/beta-headers"""

from collections.abc import Iterator, Mapping
from typing import Any

from functions.gateway.ports import ChatRequest
from functions.providers.parts import malformed_requests

HEADER = "anthropic-beta"

# What each needs is said on its own page of https://platform.claude.com/docs.
_OF_PARAMETER = {
    "compaction": "compact-2026-09-04",
    "diagnostics": "cache-diagnosis-2026-04-07",
    "mcp_servers": "mcp-client-2025-04-04",
    "output_format": "structured-outputs-2025-11-13",
    "thread": "message-threads-2026-08-12",
}
_OF_TOOL = {
    "computer_20251124": "computer-use-2025-11-24",
    "computer_20250124": "computer-use-2025-01-24",
    "mcp_toolset": "mcp-client-2025-11-20",
}
_OF_BLOCK = {
    "container_upload": "files-api-2025-04-14",
    "tool_addition": "mid-conversation-tool-changes-2026-07-01",
    "tool_removal": "mid-conversation-tool-changes-2026-07-01",
}
_OF_FILE = "files-api-2025-04-14"
_OF_SKILLS = "skills-2025-10-02"
_OF_COMPACTING = "compact-2026-01-12"
_OF_EDITING = "context-management-2025-06-27"


def beta_headers(request: ChatRequest, body: Mapping[str, Any]) -> dict[str, str]:
    """Name the betas that the client names, then those that the body can't do without."""
    named = [beta.strip() for beta in request.headers.get(HEADER, "").split(",") if beta.strip()]
    needed = set(_needed(body))
    if _OF_TOOL["mcp_toolset"] in {*needed, *named}:
        needed.discard(_OF_PARAMETER["mcp_servers"])
    betas = [*dict.fromkeys(named), *sorted(needed - set(named))]
    return {HEADER: ",".join(betas)} if betas else {}


def _needed(body: Mapping[str, Any]) -> Iterator[str]:
    yield from (beta for name, beta in _OF_PARAMETER.items() if name in body)
    yield from (_OF_TOOL[tool["type"]] for tool in body.get("tools") or () if tool.get("type") in _OF_TOOL)
    with malformed_requests("Anthropic", "context_management"):
        management: Mapping[str, Any] = body.get("context_management") or {}
        kinds = [str(edit.get("type")) for edit in management.get("edits") or ()]
    yield from (_OF_COMPACTING if kind.startswith("compact_") else _OF_EDITING for kind in kinds)
    container: Any = body.get("container")
    if isinstance(container, dict) and "skills" in container:
        yield _OF_SKILLS
    for turn in body["messages"]:
        for block in turn["content"]:
            yield from _of_block(block)


def _of_block(block: Mapping[str, Any]) -> Iterator[str]:
    if block["type"] in _OF_BLOCK:
        yield _OF_BLOCK[block["type"]]
    source = block.get("source")
    if isinstance(source, dict) and source.get("type") == "file":  # pyright: ignore[reportUnknownMemberType]
        yield _OF_FILE
