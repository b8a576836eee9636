"""What follows from each outcome: which deployment a request asks next, after how long, or what its sender is told."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from events.spend import Attempt
from functions.gateway.chains import Chain, Group
from functions.gateway.errors import AllModelsFailed, BadRequest, GatewayError, UpstreamError
from functions.gateway.estimates import asked_tokens
from functions.gateway.health import Fleet
from functions.gateway.policy import RoutingPolicy
from functions.gateway.ports import Deployment, Request
from functions.gateway.strategies import ordered
from functions.gateway.verdicts import SHORT_WAIT_S, Verdict, judge

_BACK_OFF_S = 0.5  # before a first retry; doubled for each further one
_LONGEST_BACK_OFF_S = 8.0


@dataclass(frozen=True, slots=True)
class Step:
    """Ask this deployment, after a wait."""

    deployment: Deployment
    wait_s: float = 0


class Plan:
    """One request's way along its chain, decided step by step. Times are seconds of a monotonic clock.

    Each deployment is asked in its turn, unless it rests. A fault of the moment is retried on the same deployment, as
    often as `num_retries`, `max_attempts` and the deployment's own retry budget allow, if the wait that it asks for is
    short. Of those that rest, or have all that they can take, one is asked in the end if nobody else answered, once.
    """

    def __init__(
        self,
        request: Request,
        chain: Chain,
        fleet: Fleet,
        policy: RoutingPolicy,
        *,
        now: float,
        random: Callable[[], float],
    ) -> None:
        self._request = request
        self._chain = chain
        self._fleet = fleet
        self._policy = policy
        self._random = random
        self._waiting = deque(self._in_order(chain.groups, now))
        self._resting: list[Deployment] = []
        self._asked: set[str] = set()
        self._again: deque[Step] = deque()
        self._is_last_resort = False
        self._is_continuing = False
        self._steps = 0
        self._retries = 0
        self._refusal: BadRequest | None = None
        self._hint_s: float | None = None
        if policy.checks_context_window:
            self._check_context_window(now)

    @property
    def has_lenient(self) -> bool:
        """Say whether there are others to ask where the content is refused."""
        return bool(self._chain.lenient)

    def next(self, now: float) -> Step | None:
        """Give the next step; nothing where everybody has been asked."""
        if self._again:
            return self._taken(self._again.popleft())
        if (deployment := self._next_that_is_fit(now)) is not None:
            return self._taken(Step(deployment))
        if not self._resting:
            return None
        soonest = min(self._resting, key=lambda deployment: self._fleet.of(deployment).rests_until(now) or now)
        self._resting.clear()
        self._is_last_resort = True
        return self._taken(Step(soonest))

    def hedge(self, now: float) -> Step | None:
        """Give a deployment to ask beside one that takes long, if there is one that is fit and has retries left."""
        deployment = self._next_that_is_fit(now)
        if deployment is None:
            return None
        if not self._fleet.of(deployment).take_retry(now):
            self._waiting.appendleft(deployment)
            return None
        return self._taken(Step(deployment))

    def learn(
        self, deployment: Deployment, error: UpstreamError, verdict: Verdict, *, now: float, deadline: float
    ) -> None:
        """Take what came of a step. Raises `BadRequest` where the request is at fault."""
        if error.retry_after_s is not None:
            self._hint_s = min(error.retry_after_s, self._hint_s or error.retry_after_s)
        match verdict:
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
                self._retry(deployment, error, now=now, deadline=deadline)
            case Verdict.FALL_BACK_FIRST if not self._has_next(now):
                self._refusal = None
                self._retry(deployment, error, now=now, deadline=deadline)
            case _:
                self._refusal = None

    def broke_off(self, deployment: Deployment, error: UpstreamError, *, now: float, deadline: float) -> None:
        """Take that a stream broke off after its first content, so that the rest of its answer is asked for.

        What the client said is not at fault from here on: what a deployment has against the request may be what the
        gateway added to it.
        """
        self._is_continuing = True
        if judge(error) in (Verdict.RETRY, Verdict.FALL_BACK_FIRST) and not self._has_next(now):
            self._retry(deployment, error, now=now, deadline=deadline)

    def failure(self, attempts: Iterable[Attempt]) -> GatewayError:
        """What its sender is told where nobody answered."""
        return self._refusal or AllModelsFailed(tuple(attempts), retry_after_s=self._hint_s)

    def _taken(self, step: Step) -> Step:
        self._steps += 1
        self._asked.add(step.deployment.model_id)
        return step

    def _next_that_is_fit(self, now: float) -> Deployment | None:
        while self._waiting:
            deployment = self._waiting.popleft()
            if deployment.model_id in self._asked:
                continue
            if self._is_fit(deployment, now):
                return deployment
            self._resting.append(deployment)
        return None

    def _is_fit(self, deployment: Deployment, now: float) -> bool:
        health = self._fleet.of(deployment)
        return health.rests_until(now) is None and not health.is_full(now)

    def _has_next(self, now: float) -> bool:
        return any(self._is_fit(deployment, now) for deployment in self._waiting)

    def _retry(self, deployment: Deployment, error: UpstreamError, *, now: float, deadline: float) -> None:
        """Have the deployment asked again, if that may be."""
        wait_s = self._wait_s(error)
        health = self._fleet.of(deployment)
        if (
            not self._is_last_resort
            and (health.rests_until(now) is None or not self._has_next(now))
            and self._retries < self._num_retries(deployment)
            and self._steps + len(self._waiting) < self._policy.max_attempts
            and wait_s is not None
            and now + wait_s < deadline
            and health.take_retry(now)
        ):
            self._retries += 1
            self._again.append(Step(deployment, wait_s))

    def _num_retries(self, deployment: Deployment) -> int:
        for wish in (self._request.wishes.num_retries, deployment.num_retries):
            if wish is not None:
                return wish
        return self._policy.num_retries

    def _wait_s(self, error: UpstreamError) -> float | None:
        """Give the wait before a retry: as long as the provider says, or a back-off with jitter. `None`: too long."""
        if error.retry_after_s is not None:
            wait_s = max(error.retry_after_s, self._policy.shortest_wait_s)
            return wait_s if wait_s <= SHORT_WAIT_S else None
        back_off_s = min(_LONGEST_BACK_OFF_S, _BACK_OFF_S * 2**self._retries)
        return max(self._policy.shortest_wait_s, back_off_s * (0.5 + self._random() / 2))

    def _go_on_with(self, deployments: Iterable[Deployment]) -> None:
        self._waiting = deque(deployment for deployment in deployments if deployment.model_id not in self._asked)
        self._resting.clear()

    def _larger_than(self, deployment: Deployment, now: float) -> list[Deployment]:
        """Give those that may take a longer input: of the chain for that, or else of the rest of the chain."""
        limit = deployment.model.max_input_tokens
        candidates = self._in_order(self._chain.larger, now) or [*self._waiting, *self._resting]
        return [other for other in candidates if not _is_known_up_to(other, limit)]

    def _check_context_window(self, now: float) -> None:
        """Pass over those whose window is known to be too small, as far as an estimate says, if another may do."""
        tokens = asked_tokens(self._request.body)
        first, *others = self._chain.groups
        fit = [deployment for deployment in self._in_order([first], now) if not _is_known_up_to(deployment, tokens)]
        if not fit:
            fit = [d for d in self._in_order(self._chain.larger, now) if not _is_known_up_to(d, tokens)]
        fit += [d for d in self._in_order(others, now) if not _is_known_up_to(d, tokens)]
        if fit:
            self._waiting = deque(fit)

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


def _is_known_up_to(deployment: Deployment, tokens: int | None) -> bool:
    """Say whether a deployment is known to take no longer input than this."""
    limit = deployment.model.max_input_tokens
    return tokens is not None and limit is not None and limit <= tokens


def refused_by(deployment: Deployment, error: UpstreamError) -> BadRequest:
    """Tell the sender what a provider has against the request, in its own words."""
    message = f"{deployment.name} refused the request: {error.message}"
    return BadRequest(message, param=error.param, code=error.code or error.kind or "invalid_request")
