"""What a recorded answer of Google says, read apart from the gateway, in words that OpenAI's answers have too."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from tests.recorded.fields import leaves

FINISHES = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    # made by an SDK's authors, as reasons of tomorrow
    "FAKE_NEW_FINISH_REASON": "content_filter",
    "FAKE_ENUM": "content_filter",
}


def read_events(events: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Give what each candidate says; a prompt that was blocked is a candidate that was filtered."""
    said: dict[int, dict[str, Any]] = {}
    for event in events:
        if event.get("promptFeedback", {}).get("blockReason") and not event.get("candidates"):
            said[0] = _nothing() | {"finish": "content_filter"}
        for candidate in event.get("candidates") or ():
            _read_candidate(candidate, said.setdefault(candidate.get("index", 0), _nothing()))
    for one in said.values():
        if one["calls"] and one["finish"] == "stop":
            one["finish"] = "tool_calls"
    return said


def read_usage(events: list[dict[str, Any]]) -> dict[str, int] | None:
    """Give the counts that were reported last. The total is Google's own, and the output what it leaves."""
    reported = [event["usageMetadata"] for event in events if "promptTokenCount" in event.get("usageMetadata", {})]
    if not reported:
        return None
    counts = reported[-1]
    prompt = counts["promptTokenCount"] + counts.get("toolUsePromptTokenCount", 0)
    return {
        "prompt": prompt,
        "completion": counts["totalTokenCount"] - prompt,
        "total": counts["totalTokenCount"],
        "cached": counts.get("cachedContentTokenCount", 0),
        "reasoning": counts.get("thoughtsTokenCount", 0),
    }


def shown_choice(choice: dict[str, Any]) -> dict[str, Any]:
    """Give the same of a choice of OpenAI's."""
    message = choice["message"]
    content = message.get("content") or ""
    citations = [annotation["url_citation"] for annotation in message.get("annotations") or ()]
    return {
        "text": content,
        "thoughts": message.get("reasoning_content") or "",
        "calls": [_shown_call(call["function"]) for call in message.get("tool_calls") or ()],
        "images": [image["image_url"]["url"] for image in message.get("images") or ()],
        "audio": base64.b64decode((message.get("audio") or {}).get("data", "")),
        "quotes": [(one["url"], one["title"], content[one["start_index"] : one["end_index"]]) for one in citations],
        "logprobs": [(one["token"], one["logprob"]) for one in (choice.get("logprobs") or {}).get("content") or ()],
        "finish": choice["finish_reason"],
    }


def shown_usage(usage: dict[str, Any]) -> dict[str, int]:
    """Give the same of OpenAI's usage."""
    return {
        "prompt": usage["prompt_tokens"],
        "completion": usage["completion_tokens"],
        "total": usage["total_tokens"],
        "cached": usage["prompt_tokens_details"]["cached_tokens"],
        "reasoning": usage["completion_tokens_details"]["reasoning_tokens"],
    }


def _nothing() -> dict[str, Any]:
    lists: dict[str, Any] = {name: [] for name in ("calls", "images", "quotes", "logprobs")}
    return {"text": "", "thoughts": "", "audio": b"", "finish": "stop", **lists}


def _read_candidate(candidate: dict[str, Any], said: dict[str, Any]) -> None:
    for part in candidate.get("content", {}).get("parts") or ():
        _read_part(part, said)
    if "finishReason" in candidate:
        said["finish"] = FINISHES[candidate["finishReason"]]
    quotes = list(_quotes(candidate, said["text"].encode()))
    said["quotes"] = quotes or said["quotes"]
    chosen = candidate.get("logprobsResult", {}).get("chosenCandidates") or ()
    said["logprobs"] += [(one["token"], one["logProbability"]) for one in chosen]


def _read_part(part: dict[str, Any], said: dict[str, Any]) -> None:
    match part:
        case {"text": text, "thought": True}:
            said["thoughts"] += text
        case {"text": text}:
            said["text"] += text
        case {"functionCall": {"name": name, "args": args}}:
            said["calls"].append((name, _flat(args)))
        case {"functionCall": {"name": name}}:
            said["calls"].append((name, {}))
        case {"functionCall": piece}:
            for argument in piece.get("partialArgs") or ():
                _add_piece(said["calls"][-1][1], argument)
        case {"inlineData": {"mimeType": str(media_type), "data": data}} if media_type.startswith("audio/"):
            said["audio"] += base64.b64decode(data)
        case {"inlineData": {"mimeType": media_type, "data": data}} if not part.get("thought"):
            said["images"].append(f"data:{media_type};base64,{data}")
        case _:
            pass


def _flat(arguments: dict[str, Any]) -> dict[str, Any]:
    """Give the arguments by their JSON paths, as Google writes those that come in pieces."""
    return {_json_path(path): value for path, value in leaves(arguments) if path}


def _json_path(path: tuple[str | int, ...]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _add_piece(arguments: dict[str, Any], piece: dict[str, Any]) -> None:
    """Add a value at its path; a text continues the one that is there."""
    path = piece["jsonPath"]
    [value] = [piece[name] for name in piece if name.endswith("Value")]
    arguments[path] = arguments[path] + value if isinstance(arguments.get(path), str) else value


def _quotes(candidate: dict[str, Any], text: bytes) -> Iterator[tuple[str, str, str]]:
    """Give each source with what it is cited for; Google's places are bytes."""
    grounding = candidate.get("groundingMetadata", {})
    for support in grounding.get("groundingSupports") or ():
        for index in support.get("groundingChunkIndices") or ():
            chunks = grounding.get("groundingChunks", [])[index : index + 1]
            for source in (source for chunk in chunks for source in chunk.values() if "uri" in source):
                yield source["uri"], source.get("title", ""), _quoted(support["segment"], text)
    cited = candidate.get("citationMetadata", {})
    for source in cited.get("citationSources") or cited.get("citations") or ():
        if "uri" in source:
            yield source["uri"], source.get("title", ""), _quoted(source, text)


def _quoted(place: dict[str, Any], text: bytes) -> str:
    return text[place.get("startIndex", 0) : place.get("endIndex", 0)].decode(errors="ignore")


def _shown_call(function: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return function["name"], _flat(json.loads(function["arguments"]))
