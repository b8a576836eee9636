"""The counts that providers report, which compatible servers also write as `5.0`, `"5"` or `-1`."""

from typing import Any

_MOST = 10**12  # no answer has more tokens; what many more cost would not fit into the ledger


class NoCount(ValueError):
    """What stands in a count's place is none: the usage that holds it counts as not reported."""


def count(value: Any) -> int:
    """Read a count; an absent one is zero. Raises `NoCount`."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST or value % 1:
        raise NoCount(f"{value!r} is not a count")
    return int(value)
