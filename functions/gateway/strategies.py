"""In which order the deployments of a group are asked."""

import math
from collections.abc import Callable, Sequence

from functions.gateway.health import Fleet
from functions.gateway.policy import RoutingPolicy, Strategy
from functions.gateway.ports import Deployment

_UNMEASURED = -1.0  # before every latency


def ordered(
    strategy: Strategy,
    group: Sequence[Deployment],
    fleet: Fleet,
    policy: RoutingPolicy,
    *,
    now: float,
    is_stream: bool,
    random: Callable[[], float],
) -> list[Deployment]:
    """Order a group: those that can take a request before those that are full, then by `order`, then by strategy.

    Whom the strategy finds equal come in random order. `random` gives numbers from 0 up to, but not including, 1.
    """
    if len(group) < 2:
        return list(group)
    tiers: dict[tuple[bool, int], list[Deployment]] = {}
    for deployment in group:
        tiers.setdefault((fleet.of(deployment).is_full(now), deployment.order), []).append(deployment)

    def ranked(equals: Sequence[Deployment]) -> list[Deployment]:
        match strategy:
            case "simple-shuffle":
                return _shuffled(equals, _shares(equals), random)
            case "least-busy":
                ranks = [fleet.of(deployment).in_flight for deployment in equals]
            case "latency-based-routing":
                latencies = _latencies(equals, fleet, now=now, window_s=policy.latency_window_s, is_stream=is_stream)
                ranks = _ranks_by_latency(latencies, policy.latency_buffer)
            case "cost-based-routing":
                prices = [deployment.model.prices for deployment in equals]
                ranks = [price.input + price.output for price in prices]
        rank_of = {deployment.model_id: rank for deployment, rank in zip(equals, ranks, strict=True)}
        shuffled = _shuffled(equals, [1] * len(equals), random)
        return sorted(shuffled, key=lambda deployment: rank_of[deployment.model_id])

    return [deployment for tier in sorted(tiers) for deployment in ranked(tiers[tier])]


def _shares(group: Sequence[Deployment]) -> Sequence[float]:
    """Give each one's share of the traffic, by the first figure that any has; who lacks it has no share.

    As LiteLLM's simple_shuffle: https://docs.litellm.ai/docs/routing
    """
    for figures in (
        [deployment.weight for deployment in group],
        [deployment.rpm for deployment in group],
        [deployment.tpm for deployment in group],
    ):
        if any(figure is not None for figure in figures):
            return [figure or 0 for figure in figures]
    return [1] * len(group)


def _shuffled(group: Sequence[Deployment], shares: Sequence[float], random: Callable[[], float]) -> list[Deployment]:
    """Draw one after the other without putting back, by shares; those without a share come last.

    Each waits an exponential time, shorter for a larger share: the first to come is each with the probability of
    its share, and so on among the rest (Efraimidis and Spirakis, 2006, https://doi.org/10.1016/j.ipl.2005.11.003).
    """

    def wait(share: float) -> tuple[bool, float]:
        drawn = -math.log(1 - random())
        return (False, drawn / share) if share > 0 else (True, drawn)

    waits = [wait(share) for share in shares]
    return [group[index] for index in sorted(range(len(group)), key=waits.__getitem__)]


def _latencies(
    group: Sequence[Deployment], fleet: Fleet, *, now: float, window_s: float, is_stream: bool
) -> Sequence[float | None]:
    """Give each one's mean time to a stream's first content, or per output token; `None` where it is not known.

    Where somebody's answers have no output tokens (embeddings), everybody's count as a whole.
    """
    healths = [fleet.of(deployment) for deployment in group]
    if is_stream:
        return [health.first_contents.mean_s(now, window_s) for health in healths]
    whole = [health.whole_answers.mean_s(now, window_s) for health in healths]
    per_token = [health.whole_answers.mean_per_output_token_s(now, window_s) for health in healths]
    is_known_per_token = all((a is None) == (b is None) for a, b in zip(whole, per_token, strict=True))
    return per_token if is_known_per_token else whole


def _ranks_by_latency(latencies: Sequence[float | None], buffer: float) -> list[float]:
    """Rank the unmeasured first, so that they get measured; who is within the buffer of the fastest is its equal."""
    fastest = min((latency for latency in latencies if latency is not None), default=0.0)
    ranks: list[float] = []
    for latency in latencies:
        if latency is None:
            ranks.append(_UNMEASURED)
        else:
            ranks.append(fastest if latency <= fastest * (1 + buffer) else latency)
    return ranks
