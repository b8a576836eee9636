"""Thought signatures, and whatever else of a model's turn OpenAI has no place for, on their way out and back.

Gemini wants its turns back as it wrote them. A signature of a function call travels in the call's id, because that
survives clients that keep nothing else; the rest stands in `provider_specific_fields.gemini_parts`, a list of raw parts
with their position: `at` characters of the text (of the thoughts, where `thought` is set) came before. A mark that has
a `text`, or is nothing but a signature, belongs to the text that ends there. A mark with `tool_calls`, `images` or
`audio` is about the entry of the message's that has this index: where it stood, and what else its part said.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures
"""

import base64
from collections.abc import Mapping
from typing import Any, cast

FIELD = "gemini_parts"
_SEPARATOR = "__thought__"
_ENTRIES = ("tool_calls", "images", "audio")

# What Google documents for calls that another model made: https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
PLACEHOLDER = base64.b64encode(b"skip_thought_signature_validator").decode()


def signed_id(call_id: str, signature: str | None) -> str:
    """Give the id of a tool call that carries its signature."""
    if not signature:
        return call_id
    url_safe = signature.replace("+", "-").replace("/", "_")
    return f"{call_id}{_SEPARATOR}{url_safe}"


def unsigned_id(call_id: str) -> tuple[str, str | None]:
    """Give the call's own id, and the signature that it carries."""
    own, _, signature = call_id.partition(_SEPARATOR)
    return own, signature.replace("-", "+").replace("_", "/") or None


def marks_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the marks that a client echoes; what is malformed is left out."""
    fields: Any = message.get("provider_specific_fields")
    marks: Any = cast("dict[str, Any]", fields).get(FIELD) if isinstance(fields, dict) else None
    if not isinstance(marks, list):
        return []
    sound = [cast("dict[str, Any]", mark) for mark in cast("list[Any]", marks) if isinstance(mark, dict)]
    return [mark for mark in sound if isinstance(mark.get("at"), int)]


def raw_of(mark: Mapping[str, Any]) -> dict[str, Any]:
    """Give the part, or what is known of it."""
    return {name: value for name, value in mark.items() if name not in ("at", "index", *_ENTRIES)}


def entry_of(mark: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Name the entry of the message's that a mark is about, as its list and its index there."""
    return next(((name, mark[name]) for name in _ENTRIES if name in mark), None)


def restored(entry: Mapping[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    """Give a part as it was: what its entry says, and what else it said."""
    kinds = [name for name in further if isinstance(further[name], dict) and isinstance(entry.get(name), dict)]
    return {**entry, **further, **{name: {**entry[name], **further[name]} for name in kinds}}


def interleaved(text: str, marks: list[dict[str, Any]], *, thought: bool = False) -> list[dict[str, Any]]:
    """Cut a text at its marks, and give the parts that it was made of."""
    kind: dict[str, Any] = {"thought": True} if thought else {}
    parts: list[dict[str, Any]] = []
    start = 0
    for mark in marks:
        end = min(max(mark["at"], start), len(text))
        raw = raw_of(mark)
        if "text" in raw or raw.keys() <= {"thoughtSignature", "thought"}:
            parts.append({**raw, "text": text[start:end]})
        else:
            parts += [{"text": text[start:end], **kind}] if end > start else []
            parts.append(raw)
        start = end
    return [*parts, {"text": text[start:], **kind}] if start < len(text) else parts
