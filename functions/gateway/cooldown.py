"""When a deployment rests, and how it is found out whether it is well again. Times are seconds of a monotonic clock."""

import math
from collections.abc import Callable

from functions.gateway.ports import Deployment
from functions.gateway.rolling import Minute

LONGEST_TOLD_REST_S = 60.0  # by a provider, or by another instance
_LONGEST_REST_S = 20.0  # after failed probes: an upstream that is well again is asked again within half a minute
_FAILURES_IN_A_ROW = 3
_FEWEST_ATTEMPTS = 5  # of which more than half failed


class Cooldown:
    """Rests a deployment that fails, then lets one attempt at a time find out whether it is well again: the probe.

    A rest begins after three failures in a row, or when more than half of at least five attempts of the last minute
    failed, or instead of both when more failed in it than the deployment's `allowed_fails`; at once where no retry
    would help. The probe's success ends it, and what failed before is forgotten; its failure begins another, twice as
    long, in which the time that the probe took to fail counts: what hangs is not found to be well again any later.

    Attempts are numbered as they begin. Those that began before the deployment last went to rest, or came back, tell
    of a state that is over: they are not counted.

    `on_rest` is told until when it rests, each time that a failure seen here is the reason.
    """

    def __init__(self, deployment: Deployment, *, is_disabled: bool, on_rest: Callable[[float], None]) -> None:
        self._cooldown_s = 0 if is_disabled else deployment.cooldown_s
        self._allowed_fails = deployment.allowed_fails
        self._on_rest = on_rest
        self._ends_at: float | None = None  # of the rest; `None`: it does not rest, and needs no probe
        self._rest_s = self._cooldown_s
        self._begun = 0
        self._turned_after = 0  # so many had begun
        self._probe: int | None = None
        self._probe_began = -math.inf  # one that hangs keeps its place no longer than the longest rest
        self._ended_rest: int | None = None  # the attempt that did, if it may still break off
        self._attempts = Minute()
        self._failures = Minute()
        self._failures_in_a_row = 0
        self._row_ended_by: int | None = None
        self._row_before = 0

    def rests_until(self, now: float) -> float | None:
        """Say until when it rests, so far as is known; `None`: it may be asked."""
        if self._ends_at is None or now < self._ends_at:
            return self._ends_at
        if self._probe is None or now - self._probe_began > _LONGEST_REST_S:
            return None
        return now + self._cooldown_s

    def begins(self, now: float) -> int:
        """Give an attempt its number. If one is due, it is the probe."""
        self._begun += 1
        if self._ends_at is not None and self.rests_until(now) is None:
            self._probe, self._probe_began = self._begun, now
        return self._begun

    def shows_life(self, number: int, now: float) -> None:
        """Take an answer, or its first content, or a refusal that only a working deployment gives."""
        if self._is_outdated(number):
            return
        if self._ends_at is not None:
            self._turn()
            self._ends_at = None
            self._ended_rest = number
        self._attempts.add(now)
        self._end_row(number)

    def holds_out(self, number: int) -> None:
        """Take that an answer which had begun has come to its end."""
        if not self._is_outdated(number):
            self._end_row(number)

    def fails(self, number: int, now: float, *, showed_life: bool, told_s: float | None) -> None:
        """Take a failure. `showed_life`: its answer had begun. `told_s`: rest at once, and for at least so long."""
        told_until = now + min(told_s or 0, LONGEST_TOLD_REST_S)
        if self._ends_at is not None:
            if number == self._probe:
                rest_s = self._twice_as_long()
                until = max(now + self._cooldown_s, self._probe_began + rest_s)
                self._rest(rest_s, max(until, told_until))
        elif not self._is_outdated(number):
            was_last_life = self._count_failure(number, now, showed_life=showed_life)
            if was_last_life and number == self._ended_rest:
                rest_s = self._twice_as_long()
                self._rest(rest_s, max(now + rest_s, told_until))
            elif told_s is not None or self._has_failed_enough(now):
                self._rest(self._cooldown_s, max(now + self._cooldown_s, told_until))

    def gives_up_probe(self, number: int) -> None:
        """Take that nothing came of an attempt."""
        if number == self._probe:
            self._probe = None

    def rest_until(self, until: float, now: float) -> None:
        """Begin a rest, or make it longer, for what somebody else has seen."""
        until = min(until, now + LONGEST_TOLD_REST_S)
        if self._cooldown_s == 0 or until <= max(now, self._ends_at or now):
            return
        if self._ends_at is None:
            self._rest_s = self._cooldown_s
        self._turn()
        self._ends_at = until

    def _is_outdated(self, number: int) -> bool:
        return number <= self._turned_after and number != self._ended_rest

    def _count_failure(self, number: int, now: float, *, showed_life: bool) -> bool:
        """Count it, and say whether this was the last attempt to show life, which a break-off then takes back."""
        was_last_life = showed_life and number == self._row_ended_by
        if was_last_life:
            self._failures_in_a_row += self._row_before
        if not showed_life:
            self._attempts.add(now)
        self._failures.add(now)
        self._failures_in_a_row += 1
        return was_last_life

    def _end_row(self, number: int) -> None:
        self._row_ended_by, self._row_before = number, self._failures_in_a_row
        self._failures_in_a_row = 0

    def _has_failed_enough(self, now: float) -> bool:
        failures = self._failures.total(now)
        if self._allowed_fails is not None:
            return failures > self._allowed_fails
        if self._failures_in_a_row >= _FAILURES_IN_A_ROW:
            return True
        attempts = self._attempts.total(now)
        return attempts >= _FEWEST_ATTEMPTS and failures * 2 > attempts

    def _twice_as_long(self) -> float:
        return max(self._cooldown_s, min(2 * self._rest_s, _LONGEST_REST_S))

    def _rest(self, rest_s: float, until: float) -> None:
        if self._cooldown_s == 0:
            return
        self._turn()
        self._rest_s, self._ends_at = rest_s, until
        self._on_rest(until)

    def _turn(self) -> None:
        self._turned_after = self._begun
        self._probe = None
        self._failures_in_a_row = 0
        self._attempts.clear()
        self._failures.clear()
