"""What the faulty upstream does with a request, as data that travels over HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Opening = Literal["answer", "reset", "close"]
Ending = Literal["stall", "reset", "close", "end", "error", "bare_error"]
Half = Literal["declared", "undeclared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What happens to a request; as it stands, it is answered well. Times are in seconds.

    In order: `wait_s`, `opening` (`reset` and `close` end the connection without a byte), then either `body` with its
    `status` and `headers`, or a good answer's headers, `first_pause_s`, and the answer's pieces with `pause_s` before
    each. A stream has `garbage_count` malformed events after `garbage_after` pieces of its answer, and the `ending`
    after `cut_after` pieces: 0 is before the first piece, -1 right after the headers. A whole answer may be cut in
    `half`, where its length was declared or was not.
    """

    name: str = "good"
    wait_s: float = 0
    opening: Opening = "answer"
    status: int = 200
    headers: Mapping[str, str] | None = None
    body: str | None = None
    first_pause_s: float = 0
    pause_s: float = 0
    cut_after: int | None = None
    ending: Ending = "end"
    garbage_after: int | None = None
    garbage_count: int = 1
    has_empties: bool = False
    has_duplicates: bool = False  # of the events that carry no text
    lacks_usage: bool = False
    lacks_last: bool = False  # event: `[DONE]`, `message_stop`
    half: Half | None = None
    repeated_words: int = 0  # of what the request says was said already, in an answer that goes on from there
    closes_after: bool = False  # the connection, without having said so
    times: int = 1  # how many requests this holds for
    lasts_s: float | None = None  # instead: how long, from its first request on


GOOD = Behaviour()
Script = Sequence[Behaviour]  # one after the other; the last one holds for good


def as_json(scripts: Mapping[str, Script]) -> dict[str, Any]:
    """Give scripts, by deployment, as JSON values."""
    return {deployment: [asdict(behaviour) for behaviour in script] for deployment, script in scripts.items()}


def from_json(scripts: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[Behaviour]]:
    """Read scripts."""
    return {name: [Behaviour(**behaviour) for behaviour in script] for name, script in scripts.items()}
