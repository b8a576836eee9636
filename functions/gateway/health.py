"""What one instance has seen of its deployments: who answers, how fast, and who is to rest.

Times are seconds of a monotonic clock. What an attempt costs here is bounded, and so is what is kept of a deployment,
however long the instance lives. Each instance learns by itself, within a few attempts; `hints.py` tells it what others
have put to rest.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from functions.gateway.ports import Deployment
from functions.gateway.verdicts import Verdict

_MINUTE_S = 60

_FAILURES_IN_A_ROW = 3
_FEWEST_ATTEMPTS = 5  # of which more than half failed
_LONGEST_REST_S = 20.0  # after failed probes: an upstream that is well again is asked again within half a minute
LONGEST_TOLD_REST_S = 60.0  # by a provider, or by another instance
_INCURABLE = frozenset({401, 402, 403, 404, 429, "no_api_key"})  # bad key, no credit, quota, model gone
_NEVER_ASKED = "unsupported"
_SIGNS_OF_LIFE = frozenset({Verdict.CONTEXT_WINDOW, Verdict.CONTENT_POLICY, Verdict.CLIENT_FAULT})

_MOST_RETRIES = 10.0
_RETRIES_PER_SUCCESS = 0.2
_RETRIES_PER_SECOND = 0.5

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


def _unheard(*_: object) -> None:
    return None


class Cooldown:
    """Rests a deployment that fails, then lets one attempt at a time find out whether it is well again: the probe.

    A rest begins after three failures in a row, or when more than half of at least five attempts of the last minute
    failed, or instead of both when more failed in it than the deployment's `allowed_fails`; at once where no retry
    would help. The probe's success ends it, and what failed before is forgotten; its failure begins another, twice as
    long.

    Attempts are numbered as they begin. Those that began before the deployment last went to rest, or came back, tell
    of a state that is over: they are not counted.

    `on_rest` is told until when it rests, each time that a failure seen here is the reason.
    """

    def __init__(
        self, deployment: Deployment, *, is_disabled: bool, on_rest: Callable[[float], None] = _unheard
    ) -> None:
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
                self._rest(now, self._twice_as_long(), told_until)
        elif not self._is_outdated(number):
            was_last_life = self._count_failure(number, now, showed_life=showed_life)
            if was_last_life and number == self._ended_rest:
                self._rest(now, self._twice_as_long(), told_until)
            elif told_s is not None or self._has_failed_enough(now):
                self._rest(now, self._cooldown_s, told_until)

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

    def _rest(self, now: float, rest_s: float, told_until: float) -> None:
        if self._cooldown_s == 0:
            return
        self._turn()
        self._rest_s = rest_s
        self._ends_at = max(now + rest_s, told_until)
        self._on_rest(self._ends_at)

    def _turn(self) -> None:
        self._turned_after = self._begun
        self._probe = None
        self._failures_in_a_row = 0
        self._attempts.clear()
        self._failures.clear()


class Health:
    """What is known of one deployment. `in_flight` is how many attempts at it are under way, streams to their end."""

    def __init__(
        self,
        deployment: Deployment,
        *,
        is_cooldown_disabled: bool = False,
        on_rest: Callable[[float], None] = _unheard,
    ) -> None:
        self.in_flight = 0
        self.cooldown = Cooldown(deployment, is_disabled=is_cooldown_disabled, on_rest=on_rest)
        self.retry_budget = RetryBudget()
        self.requests = Minute()
        self.tokens = Minute()
        self.first_contents = Timings()  # of streams
        self.whole_answers = Timings()
        self._deployment = deployment

    def rests_until(self, now: float) -> float | None:
        """Say until when it rests, so far as is known; `None`: it may be asked."""
        return self.cooldown.rests_until(now)

    def rest_until(self, until: float, now: float) -> None:
        """Take from elsewhere that it is to rest, for a minute at most; after that it is probed as after any rest."""
        self.cooldown.rest_until(until, now)

    def is_full(self, now: float) -> bool:
        """Say whether it has all that it may be asked: at once, or in this minute."""
        limits = self._deployment
        return (
            _is_reached(limits.max_parallel_requests, self.in_flight)
            or _is_reached(limits.rpm, self.requests.total(now))
            or _is_reached(limits.tpm, self.tokens.total(now))
        )

    def begin(self, now: float) -> "Asked":
        """Take that an attempt begins. Whoever begins one says what came of it."""
        self.in_flight += 1
        self.requests.add(now)
        return Asked(self, self.cooldown.begins(now), now)

    def take_retry(self, now: float) -> bool:
        """Take one of its retries, if there is one: it may be asked once more."""
        return self.retry_budget.take(now)

    def first_token_percentile_s(self, percent: int, now: float) -> float | None:
        """Say within what time `percent` of its streams had their first content; `None`: there are too few to say."""
        return self.first_contents.percentile_s(percent, now)


class Asked:
    """One attempt, to be told what comes of it.

    A whole answer has `succeeded`, and that is all. A stream has `succeeded` with its first content, and then
    `finished`, or broken off: `failed`. An attempt that the client or the gateway no longer wants, at any point, is
    `abandoned`, or was `outrun`. What is said after the end is ignored.
    """

    def __init__(self, health: Health, number: int, began: float) -> None:
        self._health = health
        self._number = number
        self._began = began
        self._has_content = False
        self._is_over = False

    def succeeded(
        self, now: float, *, is_stream: bool, seconds: float, output_tokens: int = 0, input_tokens: int = 0
    ) -> None:
        """Take a whole answer, or a stream's first content: `seconds` is how long it took."""
        if self._is_over or self._has_content:
            return
        self._has_content = True
        self._health.cooldown.shows_life(self._number, now)
        if is_stream:
            self._health.first_contents.add(now, seconds)
        else:
            self._health.whole_answers.add(now, seconds, output_tokens)
            self.finished(now, output_tokens, input_tokens)

    def finished(self, now: float, output_tokens: int, input_tokens: int = 0) -> None:
        """Take that a stream is complete."""
        if self._ends():
            self._health.cooldown.holds_out(self._number)
            self._health.retry_budget.earn(now)
            self._health.tokens.add(now, output_tokens + input_tokens)

    def failed(self, now: float, verdict: Verdict, *, status: int | str, retry_after_s: float | None = None) -> None:
        """Take an error, whether an answer had begun or not.

        One that is about the request shows that the deployment works. One that no retry cures, or with a wait that is
        too long for one, begins a rest at once.
        """
        if status == _NEVER_ASKED:
            self.abandoned(now)
        elif self._ends():
            cooldown = self._health.cooldown
            if verdict not in _SIGNS_OF_LIFE:
                told_s = _told_rest_s(verdict, status, retry_after_s)
                cooldown.fails(self._number, now, showed_life=self._has_content, told_s=told_s)
            elif not self._has_content:
                cooldown.shows_life(self._number, now)

    def abandoned(self, now: float) -> None:
        """Take that the answer is no longer wanted, which says nothing of the deployment."""
        if self._ends():
            self._health.cooldown.gives_up_probe(self._number)

    def outrun(self, now: float) -> None:
        """Take that another's stream was there first: this one's first content takes at least so long.

        Without that, only the fast ones of a deployment that is raced would be counted, its percentiles would fall, and
        it would be raced ever sooner.
        """
        if not self._is_over and not self._has_content:
            self._health.first_contents.add(now, now - self._began)
        self.abandoned(now)

    def _ends(self) -> bool:
        """Say whether it ends just now, and not before."""
        if self._is_over:
            return False
        self._is_over = True
        self._health.in_flight -= 1
        return True


class Fleet:
    """What this instance has seen of its deployments; nothing of it is kept.

    `on_rest` is told which deployment a failure seen here has put to rest, by its `model_id`, and until when.
    """

    def __init__(self, *, is_cooldown_disabled: bool = False, on_rest: Callable[[str, float], None] = _unheard) -> None:
        self._is_cooldown_disabled = is_cooldown_disabled
        self._on_rest = on_rest
        self._healths: dict[str, Health] = {}

    def of(self, deployment: Deployment) -> Health:
        """Give what is known of a deployment, by its `model_id`."""
        health = self._healths.get(deployment.model_id)
        if health is None:
            on_rest = partial(self._on_rest, deployment.model_id)
            health = Health(deployment, is_cooldown_disabled=self._is_cooldown_disabled, on_rest=on_rest)
            self._healths[deployment.model_id] = health
        return health


def _is_reached(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit


def _told_rest_s(verdict: Verdict, status: int | str, retry_after_s: float | None) -> float | None:
    """Say for how long a deployment is to rest at once; `None`: it is not."""
    if verdict is not Verdict.FALL_BACK or (retry_after_s is None and status not in _INCURABLE):
        return None
    return retry_after_s or 0
