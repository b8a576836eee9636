"""JSON whose integers may be of any size: orjson reads those over 64 bits as floats, and writes none."""

import json
from typing import Any

import orjson
from pydantic_core import from_json


def read_json(raw: bytes | str) -> Any:
    """Parse. Raises `ValueError`."""
    return from_json(raw, allow_inf_nan=False)


def write_json(value: Any) -> bytes:
    """Write in as few bytes as may be; the fast way refuses only what is rare."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()
