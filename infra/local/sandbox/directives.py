"""What a message may ask of the sandbox: `[sandbox: anthropic=529 openai=cut tokens=1000]` in its text.

It holds for the conversation, until a later message asks for something else.

For a provider: an HTTP status, `reset` (the connection, before any byte), `stall` (no answer at all), `cut` (the answer
breaks off), `slow` (a pause before each chunk), `error` (an error event in the stream), `html` (a page instead of an
answer). `tokens=N` has the answer report N output tokens, or as many as the request allows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

PROVIDERS = ("openai", "anthropic", "gemini")
FAULTS = ("reset", "stall", "cut", "slow", "error", "html")

_DIRECTIVE = re.compile(r"\[sandbox:([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Directives:
    """What is asked for. `faults` are by provider."""

    faults: dict[str, str] = field(default_factory=dict[str, str])
    tokens: int | None = None


NO_DIRECTIVES = Directives()


def last_directives(user_texts: Sequence[str]) -> Directives:
    """Read the directives of the last user message that has any."""
    return next((directives_in(text) for text in reversed(user_texts) if _DIRECTIVE.search(text)), NO_DIRECTIVES)


def directives_in(text: str) -> Directives:
    """Read the directives of a message; what isn't understood is left aside."""
    asked = [word.partition("=") for found in _DIRECTIVE.findall(text) for word in found.split()]
    faults = {name: value for name, _, value in asked if name in PROVIDERS and _is_fault(value)}
    tokens = [int(value) for name, _, value in asked if name == "tokens" and value.isdecimal()]
    return Directives(faults, tokens[-1] if tokens else None)


def without_directives(text: str) -> str:
    """Give the message itself."""
    return _DIRECTIVE.sub("", text).strip()


def _is_fault(value: str) -> bool:
    return value in FAULTS or (value.isdecimal() and 400 <= int(value) <= 599)
