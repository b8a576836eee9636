"""How many retries a deployment is worth. Times are seconds of a monotonic clock."""

import math

_MOST_RETRIES = 10.0
_RETRIES_PER_SUCCESS = 0.2
_RETRIES_PER_SECOND = 0.5


class RetryBudget:
    """How often a deployment may be asked again: a fraction of how often it has answered.

    While all is well, retries are there for the odd failure. In an outage nothing succeeds, so that after the first ten
    only one retry in two seconds is left, however many requests come: to an upstream that is down, retries add next to
    nothing, instead of multiplying what it has to refuse. https://sre.google/sre-book/handling-overload/
    """

    def __init__(self) -> None:
        self._balance = _MOST_RETRIES
        self._as_of = -math.inf

    def earn(self, now: float) -> None:
        """Take a success."""
        self._grow(now, _RETRIES_PER_SUCCESS)

    def take(self, now: float) -> bool:
        """Take a retry, if there is one."""
        self._grow(now, 0)
        if self._balance < 1:
            return False
        self._balance -= 1
        return True

    def _grow(self, now: float, by: float) -> None:
        by_time = (now - self._as_of) * _RETRIES_PER_SECOND
        self._balance = min(_MOST_RETRIES, self._balance + by_time + by)
        self._as_of = now
