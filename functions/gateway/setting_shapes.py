"""What the settings of keys, users and teams have in common: their values' shapes, and how a body with them is read."""

import json
import math
import re
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, cast

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator, BeforeValidator, ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic_core import PydanticCustomError

from events.money import NanoUsd, nano_usd
from functions.gateway.durations import period
from functions.gateway.errors import BadRequest
from functions.gateway.shapes import read_body

closed = with_config(ConfigDict(extra="forbid", strict=True))
of_query = with_config(ConfigDict(extra="forbid"))

SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_LARGEST_BUDGET_USD = 9_000_000  # what an event's number can hold
_MOST_METADATA_BYTES = 16_384
_LONGEST_NUMBER = 1000  # digits
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


def refused(message: str) -> PydanticCustomError:
    """Say what is wrong with a field."""
    return PydanticCustomError("value", "{reason}", {"reason": message})


@contextmanager
def in_its_own_words() -> Generator[None]:
    """Have the `ValueError` that is raised refuse the field."""
    try:
        yield
    except ValueError as error:
        raise refused(str(error)) from None


def as_tuple(values: list[str]) -> tuple[str, ...]:
    """Give each value once."""
    return tuple(dict.fromkeys(values))


def without_what_says_nothing(unknown_here: Collection[str], **defaults: str) -> BeforeValidator:
    """Leave out LiteLLM's fields that there are not here, as long as they say nothing, or only what holds anyway."""

    def without(body: object) -> object:
        if not isinstance(body, dict):
            return body
        given = cast("dict[str, Any]", body)
        silent = {name for name in unknown_here if name in given and not given[name]}
        silent |= {name for name, value in defaults.items() if given.get(name) == value}
        return {name: value for name, value in given.items() if name not in silent}

    return BeforeValidator(without)


def read_settings(shape: TypeAdapter[Any], raw: bytes) -> dict[str, Any]:
    """Read a body whose fields are there but once. Raises `BadRequest`, naming the first field at fault."""
    _check_fields(raw)
    return read_body(shape, raw)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A number that can't be held, or that JSON doesn't have."""

    written: str


def _check_fields(raw: bytes) -> None:
    """Refuse, by their names, what would be read as something else, or as no JSON at all. Raises `BadRequest`."""
    with suppress(ValueError, RecursionError):  # which are told by who reads it
        body = json.loads(
            raw, object_pairs_hook=_each_once, parse_constant=_Unreadable, parse_float=_fraction, parse_int=_whole
        )
        for path, number in _unreadable(body if isinstance(body, dict) else {}):
            raise BadRequest(f"{path}: {number.written[:20]} is no number that can be read here.", param=path)


def _unreadable(value: Any, path: str = "") -> Iterator[tuple[str, _Unreadable]]:
    if isinstance(value, _Unreadable):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in cast("dict[str, Any]", value).items():
            yield from _unreadable(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for position, inner in enumerate(cast("list[Any]", value)):
            yield from _unreadable(inner, f"{path}[{position}]")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict[str, Any]()
    for name, value in pairs:
        if name in given:
            raise BadRequest(f"{name} is there twice; send it once.", param=name)
        given[name] = value
    return given


def _fraction(written: str) -> object:
    is_lost = float(written) == 0 and any(digit in "123456789" for digit in written.lower().partition("e")[0])
    return _Unreadable(written) if is_lost else written


def _whole(written: str) -> object:
    return _Unreadable(written) if len(written) > _LONGEST_NUMBER else written


def _without_control_characters(name: str) -> str:
    if _CONTROL_CHARACTER.search(name):
        raise refused("has a control character")
    return name


def _budget_period(written: str) -> str:
    with in_its_own_words():
        return period(written, SOME_TIME)


def _in_nano_usd(amount: float) -> NanoUsd:
    if not amount and math.copysign(1, amount) < 0:
        raise refused("is less than 0")
    nano = nano_usd(Decimal(str(amount)))
    if amount and not nano:
        raise refused("is less than 0.000000001 USD, and not 0")
    return nano


def _one_star(model: str) -> str:
    if model.count("*") > 1:
        raise refused("may have one * at most")
    return model


def _small_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(json.dumps(metadata, allow_nan=False))
    except (ValueError, RecursionError):
        raise refused("has a number that JSON can't hold, or is nested too deeply") from None
    if size > _MOST_METADATA_BYTES:
        raise refused(f"is over {_MOST_METADATA_BYTES} bytes of JSON")
    if not _are_tags(metadata.get("tags")):
        raise refused("has tags that are not a list of texts, 100 at most and each of 128 characters at most")
    return metadata


def _are_tags(tags: object) -> bool:
    try:
        _TAGS.validate_python(tags)
    except ValidationError:
        return False
    return True


Short = Annotated[str, MinLen(1), MaxLen(128)]
Id = Annotated[str, MinLen(1), MaxLen(256), AfterValidator(_without_control_characters)]
Model = Annotated[Short, AfterValidator(_one_star)]
Models = Annotated[list[Model], MaxLen(200), AfterValidator(as_tuple)]
Tags = Annotated[list[Short], MaxLen(100)]
Metadata = Annotated[dict[str, Any], AfterValidator(_small_metadata)]
Limit = Annotated[int, Ge(0), Le(2**31 - 1)]
Budget = Annotated[float, Ge(0), Le(_LARGEST_BUDGET_USD), AfterValidator(_in_nano_usd)]
Duration = Annotated[str, MaxLen(16)]  # which is told where it is wrong
Period = Annotated[Duration, AfterValidator(_budget_period)]
PageNumber = Annotated[int, Ge(1), Le(1_000_000)]
PageSize = Annotated[int, Ge(1), Le(100)]
_TAGS: TypeAdapter[Any] = TypeAdapter(Tags | None, config=ConfigDict(strict=True))
