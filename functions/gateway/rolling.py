"""Counts and durations of late: what is older is forgotten, so that their size is bounded.

Times are seconds of a monotonic clock.
"""

import math
from collections import deque
from collections.abc import Iterator
from itertools import islice

_MINUTE_S = 60

_TIMINGS_KEPT = 200
_TIMINGS_FOR_A_MEAN = 10  # as LiteLLM: few, so that a deployment that has become slow is soon seen to be
_TIMINGS_FOR_A_PERCENTILE = 20
_PERCENTILE_WINDOW_S = 3600.0


class Minute:
    """A count over the last minute, to the second: what is counted is forgotten 60 to 61 seconds later."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()
        self._total = 0

    def add(self, now: float, count: int = 1) -> None:
        """Count something."""
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            count_before = self._seconds.pop()[1]
            self._seconds.append((second, count_before + count))
        else:
            self._forget(now)
            self._seconds.append((second, count))
        self._total += count

    def total(self, now: float) -> int:
        """Say how much was counted in the last minute."""
        self._forget(now)
        return self._total

    def clear(self) -> None:
        """Forget everything."""
        self._seconds.clear()
        self._total = 0

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] + 1 <= now - _MINUTE_S:
            self._total -= self._seconds.popleft()[1]


class Timings:
    """The last durations of one kind, and the output tokens that came of each."""

    def __init__(self) -> None:
        self._timings: deque[tuple[float, float, int]] = deque(maxlen=_TIMINGS_KEPT)

    def add(self, now: float, seconds: float, output_tokens: int = 0) -> None:
        """Keep one."""
        self._timings.append((now, seconds, output_tokens))

    def mean_s(self, now: float, window_s: float) -> float | None:
        """Give the mean of the last few that are no older than the window; `None`: there are none."""
        recent = [seconds for seconds, _ in islice(self._recent(now, window_s), _TIMINGS_FOR_A_MEAN)]
        return sum(recent) / len(recent) if recent else None

    def mean_per_output_token_s(self, now: float, window_s: float) -> float | None:
        """The same, per output token, of those that had any."""
        with_tokens = (timing for timing in self._recent(now, window_s) if timing[1])
        recent = list(islice(with_tokens, _TIMINGS_FOR_A_MEAN))
        return sum(seconds for seconds, _ in recent) / sum(tokens for _, tokens in recent) if recent else None

    def percentile_s(self, percent: int, now: float) -> float | None:
        """Give the shortest duration that `percent` of those of the last hour don't exceed; `None`: too few."""
        recent = sorted(seconds for seconds, _ in self._recent(now, _PERCENTILE_WINDOW_S))
        if len(recent) < _TIMINGS_FOR_A_PERCENTILE:
            return None
        return recent[max(0, math.ceil(len(recent) * percent / 100) - 1)]

    def _recent(self, now: float, window_s: float) -> Iterator[tuple[float, int]]:
        """Give seconds and output tokens, the latest first."""
        for at, seconds, output_tokens in reversed(self._timings):
            if now - at > window_s:
                return
            yield seconds, output_tokens
