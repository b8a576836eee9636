"""A function call whose arguments come in pieces (`streamFunctionCallArguments`).

Google streams values with their places, not text, so the arguments are put together and given whole.

Source: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling#streaming-fc
"""

import re
from collections.abc import Mapping
from typing import Any

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]")
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")


class PartialCall:
    """One call on its way: `part` is what a whole answer would have, once it `is_complete`."""

    def __init__(self, part: Mapping[str, Any]) -> None:
        started: Mapping[str, Any] = part["functionCall"]
        self._call: dict[str, Any] = {"id": started.get("id"), "name": started["name"], "args": {}}
        self.part: dict[str, Any] = {}
        self.is_complete = False
        self.add(part)

    def add(self, part: Mapping[str, Any]) -> None:
        """Take the next piece."""
        piece: Mapping[str, Any] = part["functionCall"]
        self.part |= {**part, "functionCall": self._call}
        for argument in piece.get("partialArgs") or ():
            value = next((argument[kind] for kind in _VALUES if kind in argument), None)
            _put(self._call["args"], _steps(argument["jsonPath"]), None if "nullValue" in argument else value)
        self.is_complete = not piece.get("willContinue")


def is_piece(call: Mapping[str, Any]) -> bool:
    """Say whether a `functionCall` is a piece of one."""
    return "name" not in call or "willContinue" in call or "partialArgs" in call


def _steps(json_path: str) -> list[str | int]:
    steps = _STEP.findall(json_path.removeprefix("$"))
    return [int(index) if index else name or quoted for name, index, quoted in steps]


def _put(holder: Any, steps: list[str | int], value: Any) -> None:
    """Set a value, making what is on the way; a string continues one that is there."""
    *way, last = steps
    for step, following in zip(way, steps[1:], strict=True):
        holder = _entered(holder, step, [] if isinstance(following, int) else {})
    present = _entered(holder, last, value)
    if isinstance(present, str) and present is not value:
        holder[last] = present + str(value)


def _entered(holder: Any, step: str | int, fresh: Any) -> Any:
    if isinstance(step, int):
        holder += [None] * (step + 1 - len(holder))
        if holder[step] is None:
            holder[step] = fresh
        return holder[step]
    return holder.setdefault(step, fresh)
