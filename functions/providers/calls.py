"""What the wires share about tool calls: their ids and their arguments."""

import uuid
from typing import Any, cast

from functions.gateway.exact_json import read_json


def new_call_id() -> str:
    """Name a tool call that its model or its server left without an id."""
    return f"call_{uuid.uuid4().hex[:24]}"


def object_in(text: str) -> dict[str, Any] | None:
    """Parse a JSON object, or give nothing where it is none. Integers keep all of their digits."""
    try:
        value = read_json(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
