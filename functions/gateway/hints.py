"""Hints among instances: which deployments one has put to rest, so that the others need not find out by themselves.

They are read and told beside the requests, by one task that wakes for nothing else. No request waits for a hint, and
whatever becomes of one changes only who is asked first.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from functions.gateway.cooldown import LONGEST_TOLD_REST_S
from functions.gateway.health import Fleet
from functions.gateway.ports import Cooldowns, Deployment

_READ_EVERY_S = 10.0
_WITHIN_S = 5.0
_WORTH_TELLING = timedelta(seconds=2)  # in an outage all instances rest the same deployment at about the same time

_log = logging.getLogger(__name__)


class Hints:
    """What this instance and the others have told of their rests.

    A hint counts once: what has shown life before the end of its rest is not put back to rest by the same hint, and
    what this instance has told is none to itself. `now` gives aware UTC time, `clock` the seconds of the fleet.
    """

    def __init__(
        self,
        deployments: Iterable[Deployment],
        cooldowns: Cooldowns,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._deployments = {deployment.model_id: deployment for deployment in deployments}
        self._cooldowns = cooldowns
        self._now = now
        self._clock = clock
        self._known: dict[str, datetime] = {}
        self._reports: dict[str, datetime] = {}  # of each deployment the latest
        self._read_at = float("-inf")
        self._is_due = asyncio.Event()

    def notice_request(self) -> None:
        """Have the hints read soon, if the last reading is old."""
        if self._clock() - self._read_at >= _READ_EVERY_S:
            self._is_due.set()

    def report(self, model_id: str, until: float) -> None:
        """Have the others told soon that a deployment rests until then, by the clock."""
        rest_s = min(until - self._clock(), LONGEST_TOLD_REST_S)
        self._reports[model_id] = self._now() + timedelta(seconds=rest_s)
        self._is_due.set()

    async def exchange(self, fleet: Fleet) -> None:
        """Read and tell when it is due, until cancelled. Reading goes first: what is known need not be told."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            self._read_at = self._clock()
            try:
                async with asyncio.timeout(_WITHIN_S):
                    await self._learn(fleet)
                    await self._tell()
            except Exception as error:  # noqa: BLE001 (a worker loop: each instance finds out by itself)
                _log.warning("cooldowns are not exchanged with the other instances at the moment: %r", error)

    async def _learn(self, fleet: Fleet) -> None:
        told = await self._cooldowns.read(self._now())
        now, clock = self._now(), self._clock()
        for model_id in self._deployments.keys() & newer(told, self._known):
            self._known[model_id] = told[model_id]
            left_s = (told[model_id] - now).total_seconds()
            fleet.of(self._deployments[model_id]).rest_until(clock + left_s, clock)

    async def _tell(self) -> None:
        rests = worth_telling(self._reports, self._known, self._now())
        self._reports.clear()
        if rests:
            self._known.update(rests)
            await self._cooldowns.announce(rests)


def newer(told: Mapping[str, datetime], known: Mapping[str, datetime]) -> set[str]:
    """Name those that rest longer than is known."""
    return {model_id for model_id, until in told.items() if model_id not in known or until > known[model_id]}


def worth_telling(reports: Mapping[str, datetime], known: Mapping[str, datetime], now: datetime) -> dict[str, datetime]:
    """Give the rests that go on for a while, and for a while longer than is known."""
    return {
        model_id: until
        for model_id, until in reports.items()
        if until - max(now, known.get(model_id, now)) > _WORTH_TELLING
    }
