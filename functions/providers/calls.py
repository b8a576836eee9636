"""What the wires share about tool calls: their ids and their arguments."""

import json
import re
import uuid
from typing import Any, cast

import orjson

_LONG_NUMBER = re.compile(r"[0-9]{19}")


def new_call_id() -> str:
    """Name a tool call that its model or its server left without an id."""
    return f"call_{uuid.uuid4().hex[:24]}"


def object_in(text: str) -> dict[str, Any] | None:
    """Parse a JSON object, or give nothing where it is none. Integers keep all of their digits."""
    try:
        value: Any = orjson.loads(text)
        if _LONG_NUMBER.search(text):  # which the fast parser makes a float
            value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
