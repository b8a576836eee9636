"""One candidate of an answer, read whole or event by event: its parts as OpenAI's deltas.

Sources: https://ai.google.dev/api/generate-content#candidate, https://ai.google.dev/api/caching#Part
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

from functions.gateway.exact_json import write_json
from functions.providers.google.finish import finish_reason, is_ordinary
from functions.providers.google.grounding import annotations_of
from functions.providers.google.partial_call import PartialCall, is_piece
from functions.providers.google.signatures import FIELD, signed_id

_HANDLED = frozenset({"content", "finishReason", "index", "logprobsResult"})
_NOTHING = {"text": ""}
_UPPER = re.compile(r"(?<!^)(?=[A-Z])")
# What an entry of OpenAI's says of such a part; whatever else the part says becomes a mark that names the entry.
_SAID = {
    "functionCall": frozenset({"id", "name", "args", "willContinue", "partialArgs"}),
    "inlineData": frozenset({"mimeType", "data"}),
}


def snake(name: str) -> str:
    """Give a name in snake case."""
    return _UPPER.sub("_", name).lower()


class CandidateReader:
    """Reads a candidate's events in order. Each entry of a delta's lists has the `index` that puts it in its place.

    Metadata is given once, with the finish reason. `new_call_id` names calls that their model left without an id.
    Once it `has_ended`, it `is_void` where the model has stopped without any part, and `is_blank` where no part says
    anything.
    """

    def __init__(self, index: int, new_call_id: Callable[[], str]) -> None:
        self.has_ended = False
        self.is_void = False
        self.is_blank = False
        self._index = index
        self._new_call_id = new_call_id
        self._texts: list[str] = []
        self._at = 0  # characters of text so far
        self._thought_at = 0
        self._counts: dict[str, int] = {}
        self._is_empty = True
        self._says_nothing = True
        self._is_thinking = False
        self._metadata: dict[str, Any] = {}
        self._partial: PartialCall | None = None
        self._unplaced: list[dict[str, Any]] = []  # marks of media that become due when more text follows

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Keep what the provider says beside the content; what it says later replaces it."""
        self._metadata |= {snake(name): value for name, value in metadata.items() if value is not None}

    def read(self, candidate: Mapping[str, Any]) -> dict[str, Any]:
        """Give a choice with its `delta`. Raises `UpstreamError` where the model failed."""
        delta: dict[str, Any] = {}
        if "role" not in self._counts:
            self._counts["role"] = 1
            delta["role"] = "assistant"
        content: Mapping[str, Any] = candidate.get("content") or {}
        for part in content.get("parts") or ():
            self._add(part, delta)
        if not _HANDLED.issuperset(candidate):
            self.add_metadata({name: value for name, value in candidate.items() if name not in _HANDLED})
        reason: str | None = candidate.get("finishReason")
        choice: dict[str, Any] = {"index": self._index, "delta": delta, "finish_reason": None}
        if reason:
            choice["finish_reason"] = self._end(reason, candidate.get("finishMessage"), delta)
        if logprobs := candidate.get("logprobsResult"):
            choice["logprobs"] = logprobs_of(logprobs)
        return choice

    def _end(self, reason: str, message: str | None, delta: dict[str, Any]) -> str:
        self._close_partial(delta)
        finish = finish_reason(reason, message, has_calls="tool_calls" in self._counts)
        self.has_ended = True
        self.is_void = finish == "stop" and self._is_empty
        self.is_blank = finish == "stop" and self._says_nothing
        fields = self._metadata if is_ordinary(reason) else {"native_finish_reason": reason, **self._metadata}
        fresh = {name: value for name, value in fields.items() if name not in self._counts}
        self._counts |= dict.fromkeys(fresh, 1)
        if fresh:
            delta.setdefault("provider_specific_fields", {}).update(fresh)
            for annotation in annotations_of(fresh, "".join(self._texts)):
                self._append(delta, "annotations", annotation)
        return finish

    def _add(self, part: Mapping[str, Any], delta: dict[str, Any]) -> None:
        self._is_empty = False
        part = _present(part)
        if part != _NOTHING:
            self._says_nothing = False
        if self._partial and "functionCall" not in part:
            self._close_partial(delta)
        if "text" in part:
            self._add_text(part, delta)
        elif "functionCall" in part:
            self._add_call(part, delta)
        elif "inlineData" in part and not part.get("thought"):
            self._add_media(part, delta)
        else:
            self._mark(delta, part)
        self._is_thinking = bool(part.get("thought"))

    def _add_text(self, part: Mapping[str, Any], delta: dict[str, Any]) -> None:
        text: str = part["text"]
        if part.get("thought"):
            self._thought_at += len(text)
            delta["reasoning_content"] = delta.get("reasoning_content", "") + text
            self._add_thought(text, delta)
        else:
            if self._unplaced:
                self._place_media(delta)
            self._texts.append(text)
            self._at += len(text)
            delta["content"] = delta.get("content", "") + text
        if not part.keys() <= {"text", "thought"}:
            rest = {name: value for name, value in part.items() if name != "text"}
            self._mark(delta, rest if rest.keys() <= {"thought", "thoughtSignature"} else {**rest, "text": ""})

    def _add_thought(self, text: str, delta: dict[str, Any]) -> None:
        blocks: list[dict[str, Any]] = delta.setdefault("thinking_blocks", [])
        if self._is_thinking and blocks:
            blocks[-1]["thinking"] += text
            return
        if not self._is_thinking:
            self._counts["thinking_blocks"] = self._counts.get("thinking_blocks", 0) + 1
        blocks.append({"index": self._counts["thinking_blocks"] - 1, "type": "thinking", "thinking": text})

    def _add_call(self, part: Mapping[str, Any], delta: dict[str, Any]) -> None:
        part = {**part, "functionCall": _present(part["functionCall"])}
        call: Mapping[str, Any] = part["functionCall"]
        if not is_piece(call):
            self._close_partial(delta)
            self._append_call(part, delta)
        elif "name" in call:
            self._close_partial(delta)
            self._partial = PartialCall(part)
        elif self._partial:
            self._partial.add(part)
        if self._partial and self._partial.is_complete:
            self._close_partial(delta)

    def _close_partial(self, delta: dict[str, Any]) -> None:
        if self._partial:
            self._append_call(self._partial.part, delta)
            self._partial = None

    def _append_call(self, part: Mapping[str, Any], delta: dict[str, Any]) -> None:
        call: Mapping[str, Any] = part["functionCall"]
        call_id = signed_id(call.get("id") or self._new_call_id(), part.get("thoughtSignature"))
        function = {"name": call["name"], "arguments": write_json(call.get("args") or {}).decode()}
        if further := _further(part, "functionCall"):
            self._mark(delta, {"tool_calls": self._counts.get("tool_calls", 0), **further})
        self._append(delta, "tool_calls", {"id": call_id, "type": "function", "function": function})

    def _add_media(self, part: Mapping[str, Any], delta: dict[str, Any]) -> None:
        blob: Mapping[str, Any] = _present(part["inlineData"])
        media_type: str = blob.get("mimeType") or ""
        signature: dict[str, Any] = (
            {"thought_signature": part["thoughtSignature"]} if "thoughtSignature" in part else {}
        )
        if media_type.startswith("image/"):
            url = {"url": f"data:{media_type};base64,{blob['data']}"}
            self._unplaced.append({"images": self._counts.get("images", 0), **_further(part, "inlineData")})
            self._append(delta, "images", {"type": "image_url", "image_url": url, **signature})
        elif media_type.startswith("audio/"):
            if "audio" not in self._counts:
                self._unplaced.append({"audio": 0, **_further(part, "inlineData")})
            self._add_audio(blob["data"], media_type, delta)
            delta["audio"] |= signature
        else:
            self._mark(delta, part)
        if any(len(mark) > 1 for mark in self._unplaced):
            self._place_media(delta)

    def _place_media(self, delta: dict[str, Any]) -> None:
        unplaced, self._unplaced = self._unplaced, []
        for mark in unplaced:
            self._mark(delta, mark)

    def _add_audio(self, data: str, media_type: str, delta: dict[str, Any]) -> None:
        if "audio" in delta:
            delta["audio"]["data"] = _joined(delta["audio"]["data"], data)
        elif "audio" in self._counts:
            delta["audio"] = {"data": data}
        else:
            self._counts["audio"] = 1
            named = {"id": f"audio_{self._new_call_id()}", "mime_type": media_type}
            delta["audio"] = {**named, "data": data, "transcript": "", "expires_at": 0}

    def _mark(self, delta: dict[str, Any], part: Mapping[str, Any]) -> None:
        """Keep what OpenAI has no place for, with its position."""
        if self._unplaced and not part.get("thought"):
            self._place_media(delta)
        at = self._thought_at if part.get("thought") else self._at
        self._append(delta.setdefault("provider_specific_fields", {}), FIELD, {"at": at, **part})

    def _append(self, delta: dict[str, Any], name: str, entry: dict[str, Any]) -> None:
        index = self._counts.get(name, 0)
        self._counts[name] = index + 1
        delta.setdefault(name, []).append({"index": index, **entry})


def _present(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out what is null, which says as much as an absent field."""
    return {name: value for name, value in said.items() if value is not None} if None in said.values() else said


def _further(part: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Give what a part says beyond its entry, and beyond its signature."""
    inner = {name: value for name, value in part[kind].items() if name not in _SAID[kind] and value is not None}
    beside = {name: value for name, value in part.items() if name not in (kind, "thoughtSignature")}
    return {**beside, kind: inner} if inner else beside


def logprobs_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Give OpenAI's `logprobs`. Source: https://ai.google.dev/api/generate-content#LogprobsResult"""
    tops: list[dict[str, Any]] = result.get("topCandidates") or []
    content: list[dict[str, Any]] = []
    for position, chosen in enumerate(result.get("chosenCandidates") or ()):
        alternatives = tops[position].get("candidates") or () if position < len(tops) else ()
        content.append({**_logprob(chosen), "top_logprobs": [_logprob(other) for other in alternatives]})
    return {"content": content, "refusal": None}


def _logprob(candidate: Mapping[str, Any]) -> dict[str, Any]:
    token: str = candidate.get("token") or ""
    return {"token": token, "logprob": candidate.get("logProbability") or 0.0, "bytes": list(token.encode())}


def _joined(first: str, second: str) -> str:
    if not first.endswith("="):
        return first + second
    return base64.b64encode(base64.b64decode(first) + base64.b64decode(second)).decode()
