"""Thought signatures, and whatever else of a model's turn OpenAI has no place for, on their way out and back.

Gemini wants its turns back as it wrote them. A signature of a function call travels in the call's id, because that
survives clients that keep nothing else; the rest stands in `provider_specific_fields.gemini_parts`, a list of raw parts
with their position: `at` characters of the text (of the thoughts, where `thought` is set) came before. A mark that is
nothing but a signature belongs to the text that ends there.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures
"""

import base64
from collections.abc import Mapping
from typing import Any, cast

FIELD = "gemini_parts"
_SEPARATOR = "__thought__"
_TO_URL_SAFE = str.maketrans("+/", "-_")
_FROM_URL_SAFE = str.maketrans("-_", "+/")

# What Google documents for calls that another model made: https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
PLACEHOLDER = base64.b64encode(b"skip_thought_signature_validator").decode()


def signed_id(call_id: str, signature: str | None) -> str:
    """Give the id of a tool call that carries its signature."""
    return f"{call_id}{_SEPARATOR}{signature.translate(_TO_URL_SAFE)}" if signature else call_id


def unsigned_id(call_id: str) -> tuple[str, str | None]:
    """Give the call's own id, and the signature that it carries."""
    own, _, signature = call_id.partition(_SEPARATOR)
    return own, signature.translate(_FROM_URL_SAFE) or None


def marks_of(message: Mapping[str, Any], *, thought: bool) -> list[dict[str, Any]]:
    """Give the marks of the text or of the thoughts that a client echoes; what is malformed is left out."""
    fields: Any = message.get("provider_specific_fields")
    marks: Any = cast("dict[str, Any]", fields).get(FIELD) if isinstance(fields, dict) else None
    if not isinstance(marks, list):
        return []
    sound = [cast("dict[str, Any]", mark) for mark in cast("list[Any]", marks) if isinstance(mark, dict)]
    return [mark for mark in sound if isinstance(mark.get("at"), int) and bool(mark.get("thought")) is thought]


def interleaved(text: str, marks: list[dict[str, Any]], *, thought: bool = False) -> list[dict[str, Any]]:
    """Cut a text at its marks, and give the parts that it was made of."""
    kind: dict[str, Any] = {"thought": True} if thought else {}
    parts: list[dict[str, Any]] = []
    start = 0
    for mark in marks:
        end = min(max(mark["at"], start), len(text))
        raw = {name: value for name, value in mark.items() if name not in ("at", "index")}
        if raw.keys() <= {"thoughtSignature", "thought"}:
            parts.append({"text": text[start:end], **raw})
        else:
            parts += [{"text": text[start:end], **kind}] if end > start else []
            parts.append(raw)
        start = end
    return [*parts, {"text": text[start:], **kind}] if start < len(text) else parts
