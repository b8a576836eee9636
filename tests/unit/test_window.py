"""Budget windows."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.window import window_at

MONDAY_EVENING = datetime(2026, 11, 23, 23, 48, 52, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration", "key", "ends_at"),
    [
        ("1d", "2026-11-23", "2026-11-24T00:00:00+00:00"),
        ("1w", "2026-11-23", "2026-11-30T00:00:00+00:00"),
        ("1mo", "2026-11", "2026-12-01T00:00:00+00:00"),
        ("1h", "2026-11-23T23:00:00Z", "2026-11-24T00:00:00+00:00"),
        ("30m", "2026-11-23T23:30:00Z", "2026-11-24T00:00:00+00:00"),
        ("30s", "2026-11-23T23:48:30Z", "2026-11-23T23:49:00+00:00"),
    ],
)
def test_a_window_is_named_by_its_beginning(duration: str, key: str, ends_at: str) -> None:
    window = window_at(duration, MONDAY_EVENING)

    assert (window.key, window.ends_at.isoformat()) == (key, ends_at)


def test_december_ends_with_the_year() -> None:
    assert window_at("1mo", datetime(2026, 12, 31, tzinfo=UTC)).ends_at == datetime(2027, 1, 1, tzinfo=UTC)


def test_with_an_anchor_windows_count_from_it() -> None:
    window = window_at("7d", MONDAY_EVENING, anchor=MONDAY_EVENING - timedelta(days=8))

    assert window.starts_at == MONDAY_EVENING - timedelta(days=1)


@pytest.mark.parametrize("duration", ["", "0d", "1y", "d", "2mo", "1.5h", "-1d", "1d ", "1D", "999999w", "5218w"])
def test_an_unknown_duration_is_refused(duration: str) -> None:
    with pytest.raises(ValueError, match="unknown duration"):
        window_at(duration, MONDAY_EVENING)


@given(
    st.sampled_from(["30s", "45m", "5h", "1d", "3d", "2w", "1mo"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 (given its zone)
)
def test_every_moment_is_in_its_window_and_windows_do_not_overlap(duration: str, time: datetime) -> None:
    window = window_at(duration, time)

    assert window.starts_at <= time < window.ends_at
    assert window_at(duration, window.ends_at).starts_at == window.ends_at
    assert window_at(duration, window.starts_at) == window
