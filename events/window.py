"""Budget windows: a window is a key, not a job. Nothing is reset; a new window is a new counter."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_DURATION = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d|w|mo)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = timedelta(days=36_525)
_FIRST_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """One period of a budget: `[starts_at, ends_at)`, aware UTC. `key` names it, such as `2026-11-23`."""

    key: str
    starts_at: datetime
    ends_at: datetime

    @property
    def is_endless(self) -> bool:
        """Say whether it is the only one there is."""
        return self.ends_at == _NEVER


ENDLESS = Window("all", datetime.min.replace(tzinfo=UTC), _NEVER)


def window_at(duration: str | None, time: datetime, anchor: datetime | None = None) -> Window:
    """Find the window of `duration` that contains `time`.

    `duration` is LiteLLM's grammar: a whole number and `s m h d w` or `mo` (only `1mo`: the calendar
    month). Without an `anchor` windows align to UTC midnight, weeks to Monday; with one (a key's creation)
    they count from its second. Without a duration there is one window, for good. Raises `ValueError` for anything else.
    """
    if duration is None:
        return ENDLESS
    count, unit = _parse(duration)
    time = time.astimezone(UTC)
    if unit == "mo":
        return _month(time)
    length = timedelta(seconds=count * _SECONDS[unit])
    if length > _LONGEST:
        raise ValueError(f"unknown duration {duration!r}: use a hundred years at most")
    origin = anchor.astimezone(UTC).replace(microsecond=0) if anchor else (_FIRST_MONDAY if unit == "w" else _EPOCH)
    starts_at = origin + (time - origin) // length * length
    whole_days = anchor is None and length % timedelta(days=1) == timedelta()
    key = starts_at.strftime("%Y-%m-%d" if whole_days else "%Y-%m-%dT%H:%M:%SZ")
    return Window(key, starts_at, starts_at + length)


def _parse(duration: str) -> tuple[int, str]:
    match = _DURATION.fullmatch(duration)
    if match is None or (match[2] == "mo" and match[1] != "1"):
        raise ValueError(f"unknown duration {duration!r}: use a whole number and s, m, h, d or w, or 1mo")
    return int(match[1]), match[2]


def _month(time: datetime) -> Window:
    starts_at = datetime(time.year, time.month, 1, tzinfo=UTC)
    ends_at = datetime(time.year + time.month // 12, time.month % 12 + 1, 1, tzinfo=UTC)
    return Window(starts_at.strftime("%Y-%m"), starts_at, ends_at)
