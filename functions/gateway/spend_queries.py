"""The shapes of what an operator asks of spend, in LiteLLM's names; what nobody knows is refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator, ConfigDict, TypeAdapter, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from functions.gateway.errors import BadRequest
from functions.gateway.keys import LONGEST_KEY

_of_query = with_config(ConfigDict(extra="forbid"))

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_YEARS = range(2000, 9000)
_MOST_DAYS = 366
_USUAL_DAYS = 30
_FILTERS = {"user_id": "user", "team_id": "team", "end_user": "end_user", "model": "model", "model_group": "alias",
            "custom_llm_provider": "provider", "status": "status", "request_id": "name"}  # fmt: skip
_OF_SUMMARY = frozenset({"start_date", "end_date", "api_key", "user_id", "team_id", "summarize", "format"})


@dataclass(frozen=True, slots=True)
class Days:
    """UTC days from the first to the last, both included."""

    first: date
    last: date

    @property
    def since(self) -> datetime:
        """When the first begins."""
        return datetime.combine(self.first, time.min, UTC)

    @property
    def until(self) -> datetime:
        """When the last is over."""
        return datetime.combine(self.last + timedelta(days=1), time.min, UTC)


def _day(written: str) -> date:
    try:
        day = date.fromisoformat(written) if _DAY.fullmatch(written) else None
    except ValueError:
        day = None
    if day is None or day.year not in _YEARS:
        raise PydanticCustomError("value", "must be a day such as 2026-11-24")
    return day


_Day = Annotated[str, MaxLen(64), AfterValidator(_day)]
_Name = Annotated[str, MinLen(1), MaxLen(1024)]
_Presented = Annotated[str, MinLen(1), MaxLen(LONGEST_KEY)]
_PageNumber = Annotated[int, Ge(1), Le(1_000_000)]
_PageSize = Annotated[int, Ge(1), Le(1000)]
_USUAL_PAGE_SIZE = 50
_MOST_LISTED = 100_000  # each is read by the store, whether it is shown or passed over


@_of_query
class _Dated(TypedDict, total=False):
    start_date: _Day
    end_date: _Day
    format: Literal["json", "csv"]


@_of_query
class _Logs(_Dated, total=False):
    api_key: _Presented
    user_id: _Name
    team_id: _Name
    end_user: _Name
    model: _Name
    model_group: _Name
    custom_llm_provider: _Name
    status: Literal["success", "failure"]
    request_id: _Name
    summarize: bool
    page: _PageNumber
    page_size: _PageSize


@_of_query
class _Ranking(_Dated, total=False):
    page: _PageNumber
    limit: _PageSize


@_of_query
class _OfKeys(TypedDict, total=False):
    page: _PageNumber
    limit: _PageSize
    format: Literal["json", "csv"]


@_of_query
class _OfUsers(_OfKeys, total=False):
    user_id: _Name


@_of_query
class _OfTeams(_OfKeys, total=False):
    team_id: _Name


@_of_query
class _Report(_Dated, total=False):
    group_by: Literal["team", "customer", "api_key", "user"]
    api_key: _Presented
    team_id: _Name
    internal_user_id: _Name
    customer_id: _Name


DATED: TypeAdapter[Any] = TypeAdapter(_Dated)
LOGS: TypeAdapter[Any] = TypeAdapter(_Logs)
RANKING: TypeAdapter[Any] = TypeAdapter(_Ranking)
OF_KEYS: TypeAdapter[Any] = TypeAdapter(_OfKeys)
OF_USERS: TypeAdapter[Any] = TypeAdapter(_OfUsers)
OF_TEAMS: TypeAdapter[Any] = TypeAdapter(_OfTeams)
REPORT: TypeAdapter[Any] = TypeAdapter(_Report)


def days_of(asked: Mapping[str, Any]) -> Days | None:
    """Give the days that are asked for, if any are. Raises `BadRequest`."""
    first, last = asked.get("start_date"), asked.get("end_date")
    if first is None and last is None:
        return None
    if first is None or last is None:
        missing = "start_date" if first is None else "end_date"
        raise BadRequest(f"{missing} is missing: give both days, or neither.", param=missing)
    if last < first:
        raise BadRequest(f"end_date: {last} is before the start_date {first}.", param="end_date")
    if (last - first).days >= _MOST_DAYS:
        raise BadRequest(f"end_date: ask for {_MOST_DAYS} days at most.", param="end_date")
    return Days(first, last)


def usual_days_of(asked: Mapping[str, Any], now: datetime) -> Days:
    """Give the days that are asked for, or the last 30. Raises `BadRequest`."""
    today = now.astimezone(UTC).date()
    return days_of(asked) or Days(today - timedelta(days=_USUAL_DAYS - 1), today)


def page_of(asked: Mapping[str, Any]) -> tuple[int, int]:
    """Give which page of `/spend/logs` is asked for, and of how many. Raises `BadRequest` where it is too far down."""
    number, size = asked.get("page", 1), asked.get("page_size", _USUAL_PAGE_SIZE)
    if number * size > _MOST_LISTED:
        message = (
            f"page: only the first {_MOST_LISTED} requests are listed. Ask for fewer days, by start_date and end_date."
        )
        raise BadRequest(message, param="page")
    return number, size


def wants_summary(asked: Mapping[str, Any]) -> bool:
    """Say whether a query of `/spend/logs` is for the days' sums. Raises `BadRequest` where there are none of it."""
    other = sorted(asked.keys() - _OF_SUMMARY)
    is_possible = days_of(asked) is not None and not other and asked.get("format") != "csv"
    if asked.get("summarize") and not is_possible:
        raise BadRequest(
            "summarize: sums are by day, of start_date, end_date, api_key, user_id and team_id alone, and in JSON. "
            "Leave the other parameters out, or summarize.",
            param="summarize",
        )
    return is_possible and asked.get("summarize", True)


def filters_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a query of `/spend/logs` asks for, apart from the key, in the names of `SpendQuery`."""
    found = {name: asked[written] for written, name in _FILTERS.items() if written in asked}
    if days := days_of(asked):
        found |= {"since": days.since, "until": days.until}
    return found
