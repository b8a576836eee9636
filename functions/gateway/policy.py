"""How requests are routed where they don't say otherwise: the configuration's answer, resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Strategy = Literal["simple-shuffle", "least-busy", "latency-based-routing", "cost-based-routing"]
Chains = Mapping[str, tuple[str, ...]]  # alias → the aliases that take over, in order


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """Which deployment of a group is asked first, who takes over from it, and how often one is asked again.

    `num_retries` bounds a request's retries, `max_attempts` all attempts that retries may lead to (a chain that is
    longer is walked to its end all the same). `hedge_percentile`: where a stream's first content is later than that
    percentile of its deployment's, the next one is asked beside it; `None`: never.
    """

    strategy: Strategy = "simple-shuffle"
    fallbacks: Chains = field(default_factory=dict[str, tuple[str, ...]])
    default_fallbacks: tuple[str, ...] = ()
    context_window_fallbacks: Chains = field(default_factory=dict[str, tuple[str, ...]])
    content_policy_fallbacks: Chains = field(default_factory=dict[str, tuple[str, ...]])
    max_fallbacks: int = 5
    num_retries: int = 2
    max_attempts: int = 4
    shortest_wait_s: float = 0  # before a retry
    checks_context_window: bool = False  # before a deployment is asked
    continues_streams: bool = True  # that broke off
    hedge_percentile: int | None = None
    latency_window_s: float = 3600  # of latency-based routing: how old a measurement may be
    latency_buffer: float = 0  # of latency-based routing: who is slower than the fastest by this share is as good
