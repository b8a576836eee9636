"""What follows from each outcome: which deployment a request asks next, and when, or what its sender is told."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from events.spend import Attempt
from functions.gateway.chains import Chain, Group
from functions.gateway.errors import STALE_CONNECTION, AllModelsFailed, BadRequest, GatewayError, UpstreamError
from functions.gateway.estimates import asked_tokens
from functions.gateway.health import Asked, Fleet
from functions.gateway.policy import RoutingPolicy
from functions.gateway.ports import Deployment, Request
from functions.gateway.strategies import ordered
from functions.gateway.verdicts import SHORT_WAIT_S, Verdict, judge

_BACK_OFF_S = 0.5  # before a first retry; doubled for each further one
_LONGEST_BACK_OFF_S = 8.0
_LONGEST_WAIT_S = 10.0  # that a provider may ask for where there is nobody else
_MOST_SILENCES = 4  # that one request waits for; one in mid-stream counts twice, as it takes twice as long


@dataclass(frozen=True, slots=True)
class Step:
    """Ask this deployment now; it knows that it is asked, and is to be told what came of it."""

    deployment: Deployment
    asked: Asked


class Plan:
    """One request's way along its chain, decided step by step. Times are seconds of a monotonic clock.

    Each deployment is asked in its turn, unless it rests or is full. A fault of the moment is retried on the same
    deployment, as often as `num_retries`, `max_attempts` and the deployment's own retry budget allow, if the wait that
    it asks for is short. Where nobody else has answered, one of those that were passed over is asked, once.
    """

    def __init__(
        self,
        request: Request,
        chain: Chain,
        fleet: Fleet,
        policy: RoutingPolicy,
        *,
        now: float,
        deadline: float,
        random: Callable[[], float],
    ) -> None:
        self._request = request
        self._chain = chain
        self._fleet = fleet
        self._policy = policy
        self.deadline = deadline
        self._random = random
        self._most_steps = max(policy.max_attempts, len(chain.groups))
        self._waiting = deque(self._in_order(chain.groups, now))
        self._passed_over: list[Deployment] = []
        self._met: set[str] = set()  # of those that were asked or passed over, the ids
        self._asked: set[str] = set()
        self._again: tuple[Deployment, float] | None = None  # whom to retry, and when
        self._is_last_resort = False
        self._is_continuing = False
        self._steps = 0
        self._retries = 0
        self._silences = 0
        self._has_met_stale = False
        self._refusal: BadRequest | None = None
        self._hint_s: float | None = None
        if policy.checks_context_window:
            self._check_context_window(now)

    @property
    def has_lenient(self) -> bool:
        """Say whether there are others to ask where the content is refused."""
        return bool(self._chain.lenient)

    def fallbacks(self, answered: Deployment) -> int:
        """Count those that failed or were passed over before the one that answered."""
        return len(self._met - {answered.model_id})

    def wait_s(self, now: float) -> float:
        """Say how long the next step is to be waited for."""
        return 0 if self._again is None else max(0.0, self._again[1] - now)

    def next(self, now: float) -> Step | None:
        """Take the next step; nothing where everybody has been asked, or the request has waited long enough."""
        if self._silences >= _MOST_SILENCES:
            return None
        if self._again is not None:
            deployment, self._again = self._again[0], None
            if self._fleet.of(deployment).rests_until(now) is None or not self._has_next(now):
                return self._step(deployment, now)
        if (deployment := self._next_that_is_fit(now)) is not None:
            return self._step(deployment, now)
        if not self._passed_over or self._steps >= self._most_steps:
            return None
        soonest = min(self._passed_over, key=lambda deployment: self._fleet.of(deployment).rests_until(now) or now)
        self._passed_over.clear()
        self._is_last_resort = True
        return self._step(soonest, now)

    def hedge(self, now: float) -> Step | None:
        """Take a step beside one that takes long, if another deployment is fit and has retries left."""
        deployment = self._next_that_is_fit(now)
        if deployment is None:
            return None
        if not self._fleet.of(deployment).take_retry(now):
            self._waiting.appendleft(deployment)
            return None
        return self._step(deployment, now)

    def learn(self, deployment: Deployment, error: UpstreamError, now: float) -> None:
        """Take what came of a step. Raises `BadRequest` where the request is at fault."""
        if error.retry_after_s is not None:
            self._hint_s = min(error.retry_after_s, math.inf if self._hint_s is None else self._hint_s)
        if error.code == STALE_CONNECTION and not self._has_met_stale and self._may_send_again(now):
            self._has_met_stale = True  # the others have been closed by now
            self._again = (deployment, now)
            return
        self._silences += error.status == "timeout"
        match judge(error):
            case Verdict.CLIENT_FAULT if not self._is_continuing:
                raise refused_by(deployment, error)
            case Verdict.CONTEXT_WINDOW:
                self._refusal = self._refusal or refused_by(deployment, error)
                self._go_on_with(self._larger_than(deployment, now))
            case Verdict.CONTENT_POLICY:
                self._refusal = self._refusal or refused_by(deployment, error)
                self._go_on_with(self._in_order(self._chain.lenient, now))
            case Verdict.RETRY:
                self._refusal = None
                self._retry(deployment, error, now)
            case Verdict.FALL_BACK_FIRST if not self._has_next(now):
                self._refusal = None
                self._retry(deployment, error, now)
            case _:
                self._refusal = None

    def broke_off(self, deployment: Deployment, error: UpstreamError, now: float) -> None:
        """Take that a stream broke off after its first content, so that the rest of its answer is asked for.

        From here on the sender is not at fault: what a deployment has against the request may be what the gateway
        added to it. The same deployment is asked again only where there is no other.
        """
        self._is_continuing = True
        self._silences += 2 * (error.status == "timeout")
        self._again = None
        if judge(error) in (Verdict.RETRY, Verdict.FALL_BACK_FIRST) and not self._has_next(now):
            self._retry(deployment, error, now)

    def failure(self, attempts: Iterable[Attempt]) -> GatewayError:
        """Say what the sender is told where nobody answered."""
        return self._refusal or AllModelsFailed(tuple(attempts), retry_after_s=self._hint_s)

    # --- who is next ---

    def _step(self, deployment: Deployment, now: float) -> Step:
        self._steps += 1
        self._met.add(deployment.model_id)
        self._asked.add(deployment.model_id)
        return Step(deployment, self._fleet.of(deployment).begin(now))

    def _next_that_is_fit(self, now: float) -> Deployment | None:
        while self._waiting:
            deployment = self._waiting.popleft()
            if deployment.model_id in self._asked or not self._has_steps_for(deployment):
                continue
            if self._is_fit(deployment, now):
                return deployment
            self._met.add(deployment.model_id)
            self._passed_over.append(deployment)
        return None

    def _has_steps_for(self, deployment: Deployment) -> bool:
        """Say whether the request may ask this one and still one of each group behind it."""
        behind = {other.group for other in self._waiting} - {deployment.group}
        return self._steps + 1 + len(behind) <= self._most_steps

    def _is_fit(self, deployment: Deployment, now: float) -> bool:
        health = self._fleet.of(deployment)
        return health.rests_until(now) is None and not health.is_full(now)

    def _has_next(self, now: float) -> bool:
        return any(
            deployment.model_id not in self._asked and self._is_fit(deployment, now) for deployment in self._waiting
        )

    def _go_on_with(self, deployments: Iterable[Deployment]) -> None:
        self._waiting = deque(deployment for deployment in deployments if deployment.model_id not in self._asked)
        self._passed_over.clear()

    def _in_order(self, groups: Iterable[Group], now: float) -> list[Deployment]:
        chain: list[Deployment] = []
        for group in groups:
            chain += ordered(
                self._policy.strategy,
                group,
                self._fleet,
                self._policy,
                now=now,
                is_stream=self._request.is_stream,
                random=self._random,
            )
        return chain

    # --- the same once more ---

    def _retry(self, deployment: Deployment, error: UpstreamError, now: float) -> None:
        """Have the deployment asked again, if that may be."""
        has_next = self._has_next(now)
        wait_s = self._wait_s(error, (self.deadline - now), has_next=has_next)
        health = self._fleet.of(deployment)
        if (
            wait_s is not None
            and not self._is_last_resort
            and self._retries < self._num_retries(deployment)
            and self._steps + len(self._waiting) < self._policy.max_attempts
            and (health.rests_until(now) is None or not has_next)
            and health.take_retry(now)
        ):
            self._retries += 1
            self._again = (deployment, now + wait_s)

    def _may_send_again(self, now: float) -> bool:
        """Say whether it takes no step from those that come after."""
        return self._steps + len(self._waiting) < self._policy.max_attempts or not self._has_next(now)

    def _num_retries(self, deployment: Deployment) -> int:
        for wish in (self._request.wishes.num_retries, deployment.num_retries):
            if wish is not None:
                return wish
        return self._policy.num_retries

    def _wait_s(self, error: UpstreamError, left_s: float, *, has_next: bool) -> float | None:
        """Give the wait before a retry: as long as the provider says, or a back-off; both with jitter.

        `None`: it is too long, because another deployment answers sooner, or against the time that is left.
        """
        back_off_s = min(_LONGEST_BACK_OFF_S, _BACK_OFF_S * 2**self._retries) * (0.5 + self._random() / 2)
        wait_s, longest_s = back_off_s, left_s / 2
        if (hint_s := error.retry_after_s) is not None:
            if hint_s > (SHORT_WAIT_S if has_next else _LONGEST_WAIT_S):
                return None
            wait_s = max(hint_s * (1 + self._random() / 10), back_off_s if self._retries else 0)
            longest_s = left_s / 4 if has_next else left_s / 2
        wait_s = max(wait_s, self._policy.shortest_wait_s)
        return wait_s if wait_s < longest_s else None

    # --- windows ---

    def _larger_than(self, deployment: Deployment, now: float) -> list[Deployment]:
        """Give those that may take a longer input: of the chain for that, then of the rest of the chain."""
        limit = deployment.model.max_input_tokens
        rest = [other for other in (*self._waiting, *self._passed_over) if other.name != deployment.name]
        candidates = [*self._in_order(self._chain.larger, now), *rest]
        return candidates if limit is None else _larger(candidates, limit)

    def _check_context_window(self, now: float) -> None:
        """Pass over those whose window is known to be too small, as far as an estimate says, if another may do."""
        too_long = asked_tokens(self._request.body) - 1
        first, *others = self._chain.groups
        fit = _larger(self._in_order([first], now), too_long)
        if not fit:
            fit = _larger(self._in_order(self._chain.larger, now), too_long)
        fit += _larger(self._in_order(others, now), too_long)
        if fit:
            self._waiting = deque(fit)


def _larger(deployments: Sequence[Deployment], tokens: int) -> list[Deployment]:
    return [deployment for deployment in deployments if not _takes_at_most(deployment, tokens)]


def _takes_at_most(deployment: Deployment, tokens: int) -> bool:
    """Say whether a deployment is known to take no longer input than this."""
    limit = deployment.model.max_input_tokens
    return limit is not None and limit <= tokens


def refused_by(deployment: Deployment, error: UpstreamError) -> BadRequest:
    """Tell the sender what a provider has against the request, in its own words."""
    message = f"{deployment.name} refused the request: {error.message}"
    return BadRequest(message, param=error.param, code=error.code or error.kind or "invalid_request")
