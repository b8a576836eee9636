"""Virtual keys as this instance last read them: a few seconds old at most, so that most requests read nothing."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from events.keys import Key
from functions.gateway.errors import StoreUnavailable
from functions.gateway.ports import Keys

# A change takes effect within 5 s everywhere: these, and the time that a read takes.
_FRESH_S = 3.0
_UNKNOWN_S = 4.0  # it may have been made since
_FAILED_S = 1.0
_READ_WITHIN_S = 5.0
_MOST_REMEMBERED = 5_000  # keys; and as many hashes that are none


@dataclass(frozen=True, slots=True)
class _Finding:
    """What the store said; `until` is in the clock's seconds."""

    key: Key | None
    until: float
    has_failed: bool = False

    def given(self) -> Key | None:
        """Give the key. Raises `StoreUnavailable` where the store didn't say."""
        if self.has_failed:
            raise StoreUnavailable("This key could not be looked up. Try again shortly.")
        return self.key


class RememberedKeys:
    """Reads each key once in a few seconds, known or not, however many ask for it at once.

    `clock` gives monotonic seconds.
    """

    def __init__(self, keys: Keys, *, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[str, _Finding] = OrderedDict()
        self._unknown: OrderedDict[str, _Finding] = OrderedDict()  # apart, so that guesses push out no key
        self._reading: dict[str, asyncio.Event] = {}

    async def get(self, key_hash: str) -> Key | None:
        """Give the key, or `None` where there is none. Raises `StoreUnavailable`."""
        while (finding := self._fresh(key_hash)) is None:
            reading = self._reading.get(key_hash)
            if reading is None:
                finding = await self._read(key_hash)
                break
            await reading.wait()
        return finding.given()

    def forget(self, key_hash: str) -> None:
        """Have it read anew, and what is being read of it not remembered: it was changed."""
        for part in (self._known, self._unknown, self._reading):
            part.pop(key_hash, None)

    def _fresh(self, key_hash: str) -> _Finding | None:
        finding = self._known.get(key_hash) or self._unknown.get(key_hash)
        return finding if finding and finding.until > self._clock() else None

    async def _read(self, key_hash: str) -> _Finding:
        done = self._reading[key_hash] = asyncio.Event()
        try:
            finding = await self._asked(key_hash)
            if self._reading.get(key_hash) is done:
                self._remember(key_hash, finding)
            return finding
        finally:
            if self._reading.get(key_hash) is done:
                del self._reading[key_hash]
            done.set()

    async def _asked(self, key_hash: str) -> _Finding:
        """Ask the store. What it says is as old as the question."""
        started = self._clock()
        try:
            with anyio.fail_after(_READ_WITHIN_S):
                key = await self._keys.get(key_hash)
        except (StoreUnavailable, TimeoutError):
            return _Finding(None, self._clock() + _FAILED_S, has_failed=True)
        return _Finding(key, started + (_UNKNOWN_S if key is None else _FRESH_S))

    def _remember(self, key_hash: str, finding: _Finding) -> None:
        self._known.pop(key_hash, None)
        self._unknown.pop(key_hash, None)
        part = self._unknown if finding.key is None else self._known
        part[key_hash] = finding
        if len(part) > _MOST_REMEMBERED:
            part.popitem(last=False)
