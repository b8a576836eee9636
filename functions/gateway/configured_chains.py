"""The fallback chains of the configuration file, resolved, and checked against the names that it serves."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from functions.gateway.policy import Chains
from functions.gateway.settings import Resilience

_ANY = "*"  # LiteLLM's key for every alias without a chain of its own
_Written = Sequence[Mapping[str, tuple[str, ...]]]


class ResolvedChains(NamedTuple):
    """The aliases that take over, by the reason for it."""

    fallbacks: Chains
    default_fallbacks: tuple[str, ...]
    context_window_fallbacks: Chains
    content_policy_fallbacks: Chains


def chains_of(settings: Resilience, aliases: Mapping[str, str]) -> ResolvedChains:
    """Resolve the chains; an alias of a group has the group's, where it has none of its own."""
    fallbacks = _by_alias(settings.fallbacks, aliases)
    default = fallbacks.pop(_ANY, ())
    return ResolvedChains(
        fallbacks=fallbacks,
        default_fallbacks=default if settings.default_fallbacks is None else settings.default_fallbacks,
        context_window_fallbacks=_by_alias(settings.context_window_fallbacks, aliases),
        content_policy_fallbacks=_by_alias(settings.content_policy_fallbacks, aliases),
    )


def _by_alias(written: _Written | None, aliases: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    chains = {group: chain for entry in written or () for group, chain in entry.items()}
    return {alias: chains[group] for alias, group in aliases.items() if group in chains} | chains


def faults_of_chains(settings: Resilience, section: str, names: Collection[str]) -> Iterator[str]:
    """Tell what is wrong with a section's chains: names that nobody serves, and what is said twice."""
    known = {*names, _ANY}
    yield from _faults(settings.fallbacks, f"{section}.fallbacks", known, names)
    yield from _faults(settings.context_window_fallbacks, f"{section}.context_window_fallbacks", names, names)
    yield from _faults(settings.content_policy_fallbacks, f"{section}.content_policy_fallbacks", names, names)
    yield from _unknown(settings.default_fallbacks or (), f"{section}.default_fallbacks", names)
    if settings.default_fallbacks is not None and any(_ANY in entry for entry in settings.fallbacks or ()):
        yield f"{section}.fallbacks: '{_ANY}' says what default_fallbacks does; write one of them"


def _faults(written: _Written | None, path: str, keys: Collection[str], names: Collection[str]) -> Iterator[str]:
    seen: set[str] = set()
    for index, entry in enumerate(written or ()):
        for group in seen & entry.keys():
            yield f"{path}[{index}]: {group!r} has a chain in an earlier entry; write one entry for it"
        seen |= entry.keys()
    yield from _unknown(seen, path, keys)
    yield from _unknown({name for entry in written or () for chain in entry.values() for name in chain}, path, names)


def _unknown(given: Collection[str], path: str, names: Collection[str]) -> Iterator[str]:
    for name in sorted(set(given) - set(names)):
        yield f"{path}: {name!r} is no model_name of model_list"
