"""What an operator is shown of spend: sums and requests in LiteLLM's shapes, and as lines of a table."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from events.accounts import Account, User, alias_of
from events.activity import ZERO, Cell, Completion, Slot, Sums, cell_named, cell_of, response_id_of, status_of
from events.keys import Key
from events.money import usd
from events.spend import Attempt, SpendRecorded, Usage

UNASSIGNED = "Unassigned"  # LiteLLM's word for no team
Sum = tuple[Slot, Sums]
Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """An answer: `body` in JSON, or `lines` of `columns` as a table."""

    body: Any
    columns: tuple[str, ...]
    lines: Sequence[Line]


def flat(columns: Sequence[str], lines: Sequence[Line]) -> Report:
    """Give a list of lines, which is the same in JSON."""
    return Report(list(lines), tuple(columns), lines)


def measures(sums: Sums) -> dict[str, int]:
    """Give what is counted beside money."""
    return {
        "api_requests": sums.requests,
        "successful_requests": sums.requests - sums.failures,
        "failed_requests": sums.failures,
        "prompt_tokens": sums.input_tokens,
        "completion_tokens": sums.output_tokens,
        "cache_read_input_tokens": sums.cache_read_tokens,
        "cache_creation_input_tokens": sums.cache_write_tokens,
        "total_tokens": sums.tokens,
    }


MEASURES = tuple(measures(ZERO))


def ranked(sums: Iterable[Sum]) -> list[tuple[str, Sums]]:
    """Add up some days by name, the highest spend first."""
    totals: dict[str, Sums] = {}
    for slot, some in sums:
        totals[slot.name] = totals.get(slot.name, ZERO) + some
    return sorted(totals.items(), key=lambda found: (-found[1].spend, found[0]))


def by_day(days: Iterable[Sum]) -> Report:
    """Give the spend of each day."""
    lines = [{"date": slot.period, "spend": usd(sums.spend), **measures(sums)} for slot, sums in days]
    return flat(("date", "spend", *MEASURES), lines)


def activity_report(days: Iterable[Sum]) -> Report:
    """Give how much was asked on each day, and in all."""
    days = list(days)
    lines = [{"date": slot.period, **measures(sums)} for slot, sums in days]
    total = sum((sums for _, sums in days), ZERO)
    body = {"daily_data": lines, "sum_api_requests": total.requests, "sum_total_tokens": total.tokens}
    return Report(body, ("date", *MEASURES), lines)


def of_teams(sums: Iterable[Sum], teams: Mapping[str, Account]) -> Report:
    """Give the spend of each team by day, and in all; `teams` are those that there are, by their ids."""
    sums = list(sums)
    totals = ranked(sums)
    shown = _shown_names([team for team, _ in totals], teams)
    daily = [
        {"date": day, **{shown[slot.name]: usd(some.spend) for slot, some in found}}
        for day, found in groupby(sums, key=lambda found: found[0].period)
    ]
    lines = [{"date": slot.period, **_team(slot.name, teams), "spend": usd(some.spend)} for slot, some in sums]
    body = {
        "daily_spend": daily,
        "teams": [shown[team] for team, _ in totals],
        "total_spend_per_team": [{**_team(team, teams), "total_spend": usd(some.spend)} for team, some in totals],
    }
    return Report(body, ("date", "team_id", "team_alias", "spend"), lines)


def _team(team_id: str, teams: Mapping[str, Account]) -> Line:
    return {"team_id": team_id or UNASSIGNED, "team_alias": _alias(teams.get(team_id))}


def _alias(account: Account | None) -> str | None:
    return account and alias_of(account)


def _shown_names(team_ids: Sequence[str], teams: Mapping[str, Account]) -> Mapping[str, str]:
    """Name each team by its alias, where no other could be meant by that, or else by its id."""
    aliases = [_alias(teams.get(team_id)) for team_id in team_ids]
    ambiguous = {alias for alias, count in Counter(aliases).items() if count > 1} | {*team_ids, UNASSIGNED}
    return {
        team_id: alias if alias and alias not in ambiguous else team_id or UNASSIGNED
        for team_id, alias in zip(team_ids, aliases, strict=True)
    }


def summary(totals: Iterable[Sum], keys: Iterable[Sum], users: Iterable[Sum], models: Iterable[Sum]) -> list[Line]:
    """Give each day as `/spend/logs` does: the spend by key beside the rest."""
    days: dict[str, dict[str, Any]] = {
        slot.period: {"startTime": slot.period, "spend": usd(sums.spend), "users": {}, "models": {}}
        for slot, sums in totals
    }
    for slot, sums in keys:
        days[slot.period][slot.name] = usd(sums.spend)
    for field, found in (("users", users), ("models", models)):
        for slot, sums in found:
            days[slot.period][field][slot.name] = usd(sums.spend)
    return list(days.values())


def summary_of_cells(cells: Iterable[Sum]) -> list[Line]:
    """Give each day as `/spend/logs` does, from cells."""
    cells = list(cells)
    return summary(*(_regrouped(cells, field) for field in (None, "key", "user", "model")))


def _regrouped(cells: Iterable[Sum], field: str | None) -> list[Sum]:
    totals: dict[Slot, Sums] = {}
    for slot, sums in cells:
        name = getattr(cell_named(slot.name), field) if field else ""
        grouped = Slot(slot.period, "total", name)
        totals[grouped] = totals.get(grouped, ZERO) + sums
    return list(totals.items())


_GROUPS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {  # the list of a day, what it is of, and how that is named
    "team": ("teams", "team", ("team_name", "team_id")),
    "customer": ("customers", "end_user", ("customer",)),
    "user": ("users", "user", ("user_id", "user_alias", "user_email")),
}
_DETAILS = ("model", "api_key", "spend", "total_tokens", "prompt_tokens", "completion_tokens", "api_requests")


def grouped_report(cells: Iterable[Sum], group_by: str, accounts: Mapping[str, Account]) -> Report:
    """Give `/global/spend/report` by day and team, customer or user; `accounts` are those that there are of these."""
    listed, dimension, named = _GROUPS[group_by]
    lines = [{**line, **_names(dimension, line["name"], accounts)} for line in _report_lines(cells, dimension)]
    body: list[Line] = []
    for day, of_day in groupby(lines, key=lambda line: line["group_by_day"]):
        groups: list[Line] = []
        for _, of_name in groupby(of_day, key=lambda line: line["name"]):
            details = list(of_name)
            total = sum((line["sums"] for line in details), ZERO)
            groups.append({
                **{field: details[0][field] for field in named},
                "total_spend": usd(total.spend),
                "metadata": [{field: line[field] for field in _DETAILS} for line in details],
            })  # fmt: skip
        body.append({"group_by_day": f"{day}T00:00:00+00:00", listed: groups})
    return Report(body, ("group_by_day", *named, *_DETAILS), lines)


def _names(dimension: str, name: str, accounts: Mapping[str, Account]) -> Line:
    account = accounts.get(name)
    match dimension:
        case "team":
            return {"team_name": _alias(account) or name or UNASSIGNED, "team_id": name or None}
        case "user":
            email = account.user_email if isinstance(account, User) else None
            return {"user_id": name or UNASSIGNED, "user_alias": _alias(account), "user_email": email}
        case _:
            return {"customer": name or UNASSIGNED}


def _report_lines(cells: Iterable[Sum], dimension: str) -> list[dict[str, Any]]:
    totals: dict[tuple[str, str, str, str], Sums] = {}
    for slot, sums in cells:
        cell = cell_named(slot.name)
        place = (slot.period, getattr(cell, dimension), cell.model, cell.key)
        totals[place] = totals.get(place, ZERO) + sums
    return [
        {
            "group_by_day": day,
            "name": name,
            "model": model,
            "api_key": key,
            "spend": usd(sums.spend),
            **measures(sums),
            "sums": sums,
        }
        for (day, name, model, key), sums in sorted(totals.items(), key=lambda found: found[0])
    ]


def key_report(cells: Iterable[Sum]) -> Report:
    """Give `/global/spend/report` by key, over all the days."""
    totals: dict[tuple[str, str], Sums] = {}
    for slot, sums in cells:
        cell = cell_named(slot.name)
        totals[cell.key, cell.model] = totals.get((cell.key, cell.model), ZERO) + sums
    found = sorted(totals.items())
    lines = [{"api_key": key, "model": model, **_costs(sums)} for (key, model), sums in found]
    body = [_key_total(key, dict(of_key)) for key, of_key in groupby(found, key=lambda item: item[0][0])]
    return Report(body, ("api_key", "model", *_costs(ZERO)), lines)


def _key_total(key: str, found: Mapping[tuple[str, str], Sums]) -> Line:
    details = [{"model": model, **_costs(sums)} for (_, model), sums in found.items()]
    return {"api_key": key, **_costs(sum(found.values(), ZERO)), "model_details": details}


def _costs(sums: Sums) -> dict[str, Any]:
    return {
        "total_cost": usd(sums.spend),
        "total_input_tokens": sums.input_tokens,
        "total_output_tokens": sums.output_tokens,
    }


# --- requests --------------------------------------------------------------------------------------


ROW = (
    "request_id", "call_type", "api_key", "spend", "total_tokens", "prompt_tokens", "completion_tokens", "startTime",
    "endTime", "request_duration_ms", "completionStartTime", "model", "model_id", "model_group", "custom_llm_provider",
    "user", "team_id", "end_user", "cache_hit", "request_tags", "status", "litellm_call_id", "metadata",
)  # fmt: skip


_USAGE = tuple(field.name for field in fields(Usage))


def request_row(event: Completion, key: Key | None, call_type: str) -> dict[str, Any]:
    """Give a request as `/spend/logs` does; `key` is the one that it came with, as it is now."""
    cell = cell_of(event)
    usage = event.usage if isinstance(event, SpendRecorded) else Usage()
    return {
        "request_id": response_id_of(event),
        "call_type": call_type,
        "api_key": cell.key,
        "spend": usd(event.cost),
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        **_times(event),
        "model": cell.model,
        "model_id": _answered(event).model_id if event.attempts else None,
        "model_group": event.alias,
        "custom_llm_provider": cell.provider,
        "user": cell.user,
        "team_id": cell.team,
        "end_user": cell.end_user,
        "cache_hit": str(isinstance(event, SpendRecorded) and event.cache_hit),
        "request_tags": list(event.scopes.tags),
        "status": status_of(event),
        "litellm_call_id": event.request_id,
        "metadata": _metadata(event, cell, key, usage),
    }


def _times(event: Completion) -> dict[str, Any]:
    started = event.time - timedelta(milliseconds=event.latency_ms)
    first_ms = event.time_to_first_token_ms if isinstance(event, SpendRecorded) else None
    first = event.time if first_ms is None else started + timedelta(milliseconds=first_ms)
    return {
        "startTime": _written(started),
        "endTime": _written(event.time),
        "request_duration_ms": event.latency_ms,
        "completionStartTime": _written(first),
    }


def _metadata(event: Completion, cell: Cell, key: Key | None, usage: Usage) -> dict[str, Any]:
    return {
        "status": status_of(event),
        "event_id": event.event_id,
        "user_api_key": cell.key,
        "user_api_key_alias": key.key_alias if key else None,
        "user_api_key_user_id": cell.user or None,
        "user_api_key_team_id": cell.team or None,
        "outcome": event.outcome if isinstance(event, SpendRecorded) else "failed",
        "attempts": [_attempt(attempt) for attempt in event.attempts],
        "usage_object": {name: getattr(usage, name) for name in _USAGE},
        "usage_is_estimated": isinstance(event, SpendRecorded) and event.usage_is_estimated,
        "catalog_version": event.catalog_version,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "model": attempt.model,
        "model_id": attempt.model_id,
        "status": attempt.status,
        "ms": attempt.ms,
        "billed": attempt.billed,
        "cost": usd(attempt.cost),
    }


def _answered(event: Completion) -> Attempt:
    """Give the attempt that answered last, or the last there was."""
    return next((attempt for attempt in reversed(event.attempts) if attempt.status == "200"), event.attempts[-1])


def _written(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
