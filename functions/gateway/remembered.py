"""What this instance last read of keys, users and teams: a few seconds old at most, so most requests read nothing."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from functions.gateway.errors import StoreUnavailable

# A change takes effect within 5 s everywhere: these, and the time that a read takes.
_FRESH_S = 3.0
_UNKNOWN_S = 4.0  # it may have been made since
_FAILED_S = 1.0
_READ_WITHIN_S = 5.0
_MOST_REMEMBERED = 5_000  # of a kind; and as many names of which there is none
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Finding(Generic[T]):
    """What the store said; `until` is in the clock's seconds."""

    value: T | None
    until: float
    has_failed: bool = False


class Remembered(Generic[T]):
    """Reads each thing once in a few seconds, known or not, however many ask for it at once.

    `read` gives one by its name; `kind` says what they are, in an error; `clock` gives monotonic seconds.
    """

    def __init__(self, read: Callable[[str], Awaitable[T | None]], *, kind: str, clock: Callable[[], float]) -> None:
        self._read_one = read
        self._kind = kind
        self._clock = clock
        self._known: OrderedDict[str, _Finding[T]] = OrderedDict()
        self._unknown: OrderedDict[str, _Finding[T]] = OrderedDict()  # apart, so that guesses push out nothing known
        self._reading: dict[str, asyncio.Event] = {}

    async def get(self, name: str) -> T | None:
        """Give it, or `None` where there is none. Raises `StoreUnavailable`."""
        while (finding := self._fresh(name)) is None:
            reading = self._reading.get(name)
            if reading is None:
                finding = await self._read(name)
                break
            await reading.wait()
        if finding.has_failed:
            raise StoreUnavailable(f"This {self._kind} could not be looked up. Try again shortly.")
        return finding.value

    def is_fresh(self, name: str) -> bool:
        """Say whether getting it now takes no reading."""
        return self._fresh(name) is not None

    def last(self, name: str) -> T | None:
        """Give it as it was last read, however long ago."""
        finding = self._known.get(name)
        return finding.value if finding else None

    def forget(self, name: str) -> None:
        """Have it read anew, and what is being read of it not remembered: it was changed."""
        for part in (self._known, self._unknown, self._reading):
            part.pop(name, None)

    def _fresh(self, name: str) -> _Finding[T] | None:
        finding = self._known.get(name) or self._unknown.get(name)
        return finding if finding and finding.until > self._clock() else None

    async def _read(self, name: str) -> _Finding[T]:
        done = self._reading[name] = asyncio.Event()
        try:
            finding = await self._asked(name)
            if self._reading.get(name) is done:
                self._remember(name, finding)
            return finding
        finally:
            if self._reading.get(name) is done:
                del self._reading[name]
            done.set()

    async def _asked(self, name: str) -> _Finding[T]:
        """Ask the store. What it says is as old as the question."""
        started = self._clock()
        try:
            with anyio.fail_after(_READ_WITHIN_S):
                value = await self._read_one(name)
        except (StoreUnavailable, TimeoutError):
            return _Finding(None, self._clock() + _FAILED_S, has_failed=True)
        return _Finding(value, started + (_UNKNOWN_S if value is None else _FRESH_S))

    def _remember(self, name: str, finding: _Finding[T]) -> None:
        self._known.pop(name, None)
        self._unknown.pop(name, None)
        part = self._unknown if finding.value is None else self._known
        part[name] = finding
        if len(part) > _MOST_REMEMBERED:
            part.popitem(last=False)
