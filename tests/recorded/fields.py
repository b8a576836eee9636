"""Accounting for every field of a JSON value: where each leaf is, and what happens without it.

A place is written `content[].citations[].url`: positions in lists are left out, so that one place stands for all
elements. A table says of each place whether it is mapped or dropped, and why; a test then holds the table against the
recordings. That a place is mapped is shown by changing it: what comes out must change too.
"""

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Give every leaf with its exact path; an empty object or list is a leaf."""
    if isinstance(value, dict) and value:
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield from leaves(item, (*path, str(key)))  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def place(path: Path) -> str:
    """Name a path's place, such as `content[].text`."""
    return "".join("[]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def changed(value: Any, path: Path) -> Any:
    """Give a copy in which the leaf at `path` has another value of its own type."""
    copied = copy.deepcopy(value)
    *parents, last = path
    holder = copied
    for part in parents:
        holder = holder[part]
    holder[last] = _other(holder[last])
    return copied


def _other(leaf: Any) -> Any:
    match leaf:
        case bool():
            return not leaf
        case int() | float():
            return leaf + 1
        case str():
            return f"{leaf}~"
        case None:
            return "~"
        case _:
            return [leaf]
