"""The tokens of an answer. Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from events.spend import Usage
from functions.providers.counts import NoCount, count

_COUNTED = frozenset({
    "input_tokens", "output_tokens", "output_tokens_details", "cache_read_input_tokens", "cache_creation_input_tokens",
    "cache_creation", "service_tier",
})  # fmt: skip
# https://platform.claude.com/docs/en/api/service-tiers, in OpenAI's words
_TIERS = {"standard": "default", "priority": "priority"}


def usage_of(usage: Mapping[str, Any]) -> Usage | None:
    """Read the usage, or nothing where none is reported, or its counts are none."""
    with suppress(NoCount):
        return _usage(usage) if usage else None
    return None


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Add up. Anthropic's `input_tokens` leaves cached reads and writes out; ours includes them.

    What a compaction took is billed too and in no total: https://platform.claude.com/docs/en/build-with-claude/compaction
    """
    iterations: Iterable[Mapping[str, Any]] = usage.get("iterations") or ()
    counted = [usage, *(iteration for iteration in iterations if iteration.get("type") == "compaction")]
    read = sum(count(one.get("cache_read_input_tokens")) for one in counted)
    written = sum(count(one.get("cache_creation_input_tokens")) for one in counted)
    written_1h = sum(map(_written_1h, counted))
    details: Mapping[str, Any] = usage.get("output_tokens_details") or {}
    server: Mapping[str, Any] = usage.get("server_tool_use") or {}
    return Usage(
        input_tokens=sum(count(one.get("input_tokens")) for one in counted) + read + written,
        output_tokens=sum(count(one.get("output_tokens")) for one in counted),
        cache_read_tokens=read,
        cache_write_5m_tokens=written - written_1h,
        cache_write_1h_tokens=written_1h,
        reasoning_tokens=count(details.get("thinking_tokens")),
        web_searches=count(server.get("web_search_requests")),
    )


def _written_1h(usage: Mapping[str, Any]) -> int:
    """Give the writes for an hour. A stream splits by lifetime only at its start, and writes more in its course."""
    by_lifetime: Mapping[str, Any] = usage.get("cache_creation") or {}
    hour = count(by_lifetime.get("ephemeral_1h_input_tokens"))
    written = count(usage.get("cache_creation_input_tokens"))
    return written if hour and not count(by_lifetime.get("ephemeral_5m_input_tokens")) else min(hour, written)


def uncounted(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the usage says beyond tokens: server tool calls, iterations, region, speed."""
    return {name: value for name, value in usage.items() if name not in _COUNTED and value is not None}


def tier_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Give OpenAI's top-level `service_tier`, where there is a word for it."""
    tier = _TIERS.get(str(usage.get("service_tier")))
    return {"service_tier": tier} if tier else {}
