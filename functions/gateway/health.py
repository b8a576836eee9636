"""What one instance has seen of its deployments: who answers, how fast, and who is to rest.

Times are seconds of a monotonic clock. What an attempt costs here is bounded, and so is what is kept of a deployment,
however long the instance lives. Each instance learns by itself, within a few attempts; `hints.py` tells it what others
have put to rest.
"""

from collections.abc import Callable
from functools import partial

from functions.gateway.cooldown import Cooldown
from functions.gateway.ports import Deployment
from functions.gateway.retry_budget import RetryBudget
from functions.gateway.rolling import Minute, Timings
from functions.gateway.verdicts import SHORT_WAIT_S, Verdict

_SIGNS_OF_LIFE = frozenset({Verdict.CONTEXT_WINDOW, Verdict.CONTENT_POLICY, Verdict.CLIENT_FAULT})


def _unheard(*_: object) -> None:
    return None


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

    def failed(
        self, now: float, verdict: Verdict, *, status: int | str | None = None, retry_after_s: float | None = None
    ) -> None:
        """Take an error, whether an answer had begun or not. `status` decides nothing, and may be left out.

        One that is about the request shows that the deployment works, or, where it only can't serve this one, nothing.
        One for which it is to rest, or that says when to come again, begins a rest at once.
        """
        if verdict is Verdict.UNFIT:
            self.abandoned(now)
        elif self._ends():
            cooldown = self._health.cooldown
            if verdict not in _SIGNS_OF_LIFE:
                told_s = _told_rest_s(verdict, retry_after_s)
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


def _told_rest_s(verdict: Verdict, retry_after_s: float | None) -> float | None:
    """Say for how long, at least, a deployment is to rest at once; `None`: it is not."""
    if verdict is Verdict.REST:
        return retry_after_s or 0
    return retry_after_s if retry_after_s is not None and retry_after_s > SHORT_WAIT_S else None
