"""How long something lasts, as LiteLLM writes it: `30d`, `12h`, `1mo`, `daily`."""

import re
from calendar import monthrange
from datetime import datetime, timedelta

from events.window import window_at

_DURATION = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d|w|mo)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_WORDS = {"hourly": "1h", "daily": "1d", "weekly": "1w", "monthly": "1mo"}
_LONGEST = timedelta(days=36_525)


def period(written: str, now: datetime) -> str:
    """Give a budget's period in figures. Raises `ValueError` for one that there is no window of."""
    duration = _WORDS.get(written.lower(), written)
    window_at(duration, now)
    return duration


def end_of(written: str, now: datetime) -> datetime:
    """Say when what begins now is over; a month ends on the same day, or on its last. Raises `ValueError`."""
    match = _DURATION.fullmatch(_WORDS.get(written.lower(), written))
    if match is None:
        raise ValueError(f"unknown duration {written!r}: use a whole number and s, m, h, d, w or mo")
    count, unit = int(match[1]), match[2]
    if unit == "mo" and count <= 1200:
        return _months_after(now, count)
    if unit == "mo" or timedelta(seconds=count * _SECONDS[unit]) > _LONGEST:
        raise ValueError(f"unknown duration {written!r}: use a hundred years at most")
    return now + timedelta(seconds=count * _SECONDS[unit])


def _months_after(now: datetime, count: int) -> datetime:
    years, month = divmod(now.month - 1 + count, 12)
    year, month = now.year + years, month + 1
    return now.replace(year=year, month=month, day=min(now.day, monthrange(year, month)[1]))
