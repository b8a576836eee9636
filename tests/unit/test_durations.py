"""How long something lasts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.gateway.durations import end_of, period
from tests.builders import NOON

_TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (given its zone)


@pytest.mark.parametrize(
    ("duration", "after"),
    [
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("30d", timedelta(days=30)),
        ("1w", timedelta(weeks=1)),
        ("Daily", timedelta(days=1)),
        ("hourly", timedelta(hours=1)),
    ],
)
def test_a_duration_is_over_after_its_time(duration: str, after: timedelta) -> None:
    assert end_of(duration, NOON) == NOON + after


@pytest.mark.parametrize(
    ("now", "duration", "end"),
    [
        (datetime(2026, 1, 31, 5, tzinfo=UTC), "1mo", datetime(2026, 2, 28, 5, tzinfo=UTC)),
        (datetime(2026, 11, 24, tzinfo=UTC), "2mo", datetime(2027, 1, 24, tzinfo=UTC)),
        (datetime(2026, 12, 31, tzinfo=UTC), "monthly", datetime(2027, 1, 31, tzinfo=UTC)),
        (datetime(2027, 12, 31, tzinfo=UTC), "2mo", datetime(2028, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_month_ends_on_the_same_day_or_on_its_last(now: datetime, duration: str, end: datetime) -> None:
    assert end_of(duration, now) == end


@given(_TIMES, st.integers(1, 1200))
def test_months_keep_their_count_and_their_time_of_day(now: datetime, count: int) -> None:
    end = end_of(f"{count}mo", now)

    assert (end.year - now.year) * 12 + end.month - now.month == count
    assert end.time() == now.time()
    assert end.day <= now.day


@pytest.mark.parametrize(
    "duration", ["", "5", "d", "0d", "-1d", "1.5d", " 1d", "1y", "1hr", "999999w", "36526d", "1201mo", "999999mo"]
)
def test_what_is_no_duration_is_refused(duration: str) -> None:
    with pytest.raises(ValueError, match="unknown duration"):
        end_of(duration, NOON)


@pytest.mark.parametrize(("written", "meant"), [("daily", "1d"), ("12h", "12h"), ("Monthly", "1mo")])
def test_a_budget_s_period_is_told_in_figures(written: str, meant: str) -> None:
    assert period(written, NOON) == meant


def test_a_budget_s_period_is_one_month_at_most_in_months() -> None:
    with pytest.raises(ValueError, match="unknown duration '2mo'"):
        period("2mo", NOON)
