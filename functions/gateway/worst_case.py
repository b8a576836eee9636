"""What a request may cost at most, before anybody is asked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple, cast

from events.money import NanoUsd
from functions.gateway.catalog import Prices
from functions.gateway.ports import ChatRequest, Deployment, Request

_OVERHEAD_TOKENS = 100  # that providers add: roles, where an answer begins
_INSTRUCTION_TOKENS = 1_000  # that they add where an answer must have a form: how tools are called
_FORMS = ("tools", "functions", "response_format")
_MESSAGE_TOKENS = 16
_IMAGE_TOKENS = 6_000  # https://platform.claude.com/docs/en/build-with-claude/vision: 4,784 at most, 2026-11
_AUDIO_BYTES_PER_TOKEN = 16  # base64 of 8 kbit/s is 1,300 bytes a second, of 32 tokens with Google, fewer elsewhere
_WINDOW = 1_000_000  # of a model whose window is not known
_MOST_OUTPUT = 32_768  # of a model whose limit is not known
_ANTHROPIC_UNASKED = 16_384  # its wire has no request without a limit, which is this and what there is to think
_MOST_THINKING = 16_384  # where no budget says how much
_MOST_SEARCHES = 10
_LEAST_TOKENS = 16  # an answer of fewer is not worth its input
_ENOUGH_TOKENS = 4_096  # for most answers: unless what is not spent pays for fewer, none is made shorter, nor held for
_FAIR_PART = 32  # of what is left: as much as one request without a limit may take up
_NANO_PER_TOKEN = 1_000  # USD per 1M tokens × 1000 = nano-USD per token
# What has a model read more than the request says: searches, tools of other servers, what is cached already.
_BEYOND = frozenset({"web_search_options", "mcp_servers", "container", "cachedContent", "cached_content"})
_SILENT = ("text", "refusal", "image_url")  # of the parts of a message: a file may be a recording
_PLAIN = ("role", "content", "name")  # of a message's fields
_MARK = "cache_control"
_OWN_TOOLS = (None, "function", "custom")  # run by the client
_LIMITS = ("max_completion_tokens", "max_tokens")  # the first one that is given counts


class _Asked(NamedTuple):
    """What of a request says what it may cost. `tokens` bounds its input; `None`: only the model's window does."""

    tokens: int | None
    is_chat: bool
    limit: int | None
    thinking: int
    answers: int
    predicted: int
    marks_cache: bool
    has_audio: bool


class _Bill(NamedTuple):
    """What one deployment may bill for an attempt: `fixed`, and `per_token` for up to `most` tokens of output."""

    fixed: int
    per_token: int
    most: int

    def cost(self, max_tokens: int) -> int:
        return self.fixed + self.per_token * min(max_tokens, self.most)

    def affordable(self, amount: int) -> int:
        left = amount - self.fixed
        return -1 if left < 0 else left // self.per_token if self.per_token else self.most


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The dearest attempt that a request's chain allows, `times` over where as many may run at once.

    Attempts after one another are counted once: nearly all that fail are billed nothing, and setting aside a chain's
    every retry would keep most of a budget idle. What a failed one was billed all the same is settled with the rest.
    """

    bills: tuple[_Bill, ...]
    max_tokens: int  # that an answer may have: as asked for, or else what the most verbose of the chain can
    can_be_lowered: bool
    names_limit: bool  # the request itself says how long its answer may be
    enough_tokens: int
    times: int = 1

    def cost(self, max_tokens: int) -> NanoUsd:
        """Give the cost where an answer has at most so many tokens."""
        return NanoUsd(max(1, self.times * max([bill.cost(max_tokens) for bill in self.bills], default=0)))

    def affordable_tokens(self, amount: NanoUsd) -> int:
        """Say how many tokens an answer may have for an amount; under 0 where it doesn't even cover the input."""
        return min((bill.affordable(amount // self.times) for bill in self.bills), default=self.max_tokens)

    def fair_tokens(self, left: NanoUsd) -> int:
        """Say how many tokens to hold for: without a limit of its own, a request takes a fair share of what is left.

        Nearly all such answers are far shorter than their model's limit, which would keep others out meanwhile.
        """
        if self.names_limit or not self.can_be_lowered:
            return self.max_tokens
        share = self.affordable_tokens(NanoUsd(left // _FAIR_PART))
        return min(self.max_tokens, max(self.enough_tokens, share))

    def least_tokens(self, unspent: NanoUsd) -> int:
        """Say how far an answer may be shortened: to half of what is not spent makes it, whoever else holds of it."""
        if not self.can_be_lowered:
            return self.max_tokens
        most = min(self.enough_tokens, self.affordable_tokens(unspent))
        return min(self.max_tokens, max(_LEAST_TOKENS, most // 2))

    @property
    def least_cost(self) -> NanoUsd:
        """Give the cost of the shortest answer that is of use."""
        return self.cost(min(self.max_tokens, _LEAST_TOKENS) if self.can_be_lowered else self.max_tokens)


def worst_case(request: Request, chain: Sequence[Deployment], *, times: int = 1) -> WorstCase:
    """Bound what a request may cost.

    A token is at least a byte of text; an image has a bound of its own, a file that isn't in the request fills the
    model's window, as a search may. Each token is priced as the dearest of the kinds that the request may have.
    """
    asked = _asked(request)
    bills = tuple([_bill(asked, deployment) for deployment in chain])
    return WorstCase(
        bills=bills,
        max_tokens=max([bill.most for bill in bills], default=0),
        can_be_lowered=asked.is_chat,
        names_limit=bool(asked.limit),
        enough_tokens=_ENOUGH_TOKENS + asked.thinking,
        times=times,
    )


def with_at_most(request: ChatRequest, max_tokens: int) -> ChatRequest:
    """Give the request with a lower limit of its answer's tokens."""
    name = next((name for name in _LIMITS if request.body.get(name)), "max_tokens")
    return replace(request, body={**request.body, name: max_tokens})


def _asked(request: Request) -> _Asked:
    body, reading = request.body, _reading(request)
    return _Asked(
        tokens=reading.tokens,
        is_chat=isinstance(request, ChatRequest),
        limit=body.get("max_completion_tokens") or body.get("max_tokens"),
        thinking=_thinking_budget(body),
        answers=body.get("n") or 1,
        predicted=_size(body.get("prediction")),
        marks_cache=reading.marks_cache or reading.tokens is None,
        has_audio=reading.has_audio or reading.tokens is None,
    )


def _thinking_budget(body: Mapping[str, Any]) -> int:
    thinking: Any = body.get("thinking")
    budget: Any = cast("dict[str, Any]", thinking).get("budget_tokens") if isinstance(thinking, dict) else None
    return budget if isinstance(budget, int) else 0


def _bill(asked: _Asked, deployment: Deployment) -> _Bill:
    model = deployment.model
    window = model.max_input_tokens or _WINDOW
    tokens = window if asked.tokens is None else min(asked.tokens, window)
    writes_cache = asked.marks_cache or deployment.provider != "anthropic"  # others may do it unasked
    per_input, per_output = _dearest(model.prices, writes_cache, asked.has_audio)
    for limit, tier in model.long_context:
        if tokens > limit:
            above_input, above_output = _dearest(tier, writes_cache, asked.has_audio)
            per_input, per_output = max(per_input, above_input), max(per_output, above_output)
    searches = _MOST_SEARCHES * _nano(model.prices.web_search) if asked.tokens is None else 0
    return _Bill(
        fixed=tokens * per_input + asked.predicted * per_output + searches,
        per_token=asked.answers * per_output,
        most=_most_output(asked, deployment) if asked.is_chat else 0,
    )


def _most_output(asked: _Asked, deployment: Deployment) -> int:
    """Bound an answer's tokens: as asked for, or else as many as the model writes, within its own limit."""
    limit = deployment.model.max_output_tokens
    if asked.limit:
        most = asked.limit
    elif deployment.provider == "anthropic":
        most = _ANTHROPIC_UNASKED + max(_MOST_THINKING, asked.thinking)
    else:
        most = limit or _MOST_OUTPUT
    return min(most, limit or most)


@cache
def _dearest(prices: Prices, writes_cache: bool, has_audio: bool) -> tuple[int, int]:
    """Give the dearest input and output that there may be, in nano-USD per token."""
    read = [prices.input]
    if writes_cache:
        read += filter(None, (prices.cache_write_5m, prices.cache_write_1h))
    if has_audio and prices.audio_input:
        read.append(prices.audio_input)
    written = (prices.output, prices.reasoning_output, prices.audio_output)
    return max(map(_nano, read)), max(map(_nano, written))


def _nano(price: Decimal | None) -> int:
    return 0 if price is None else math.ceil(price * _NANO_PER_TOKEN)


@dataclass(slots=True)
class _Reading:
    """What is read of a request's messages and definitions: so many `tokens` at most; `None`: nothing bounds them."""

    tokens: int | None = _OVERHEAD_TOKENS
    marks_cache: bool = False
    has_audio: bool = False

    def define(self, definition: Any) -> None:
        """Read tools, or the form of an answer."""
        self.add(_INSTRUCTION_TOKENS + _size(definition))
        self.marks_cache = self.marks_cache or _names(definition, _MARK)

    def say(self, message: Mapping[str, Any]) -> None:
        """Read a message."""
        tokens = _MESSAGE_TOKENS
        for name, value in message.items():
            if name == "content" and isinstance(value, list):
                for part in cast("list[dict[str, Any]]", value):
                    self.show(part)
                continue
            tokens += _size(value)
            if name not in _PLAIN and value:
                self.marks_cache = self.marks_cache or name == _MARK or _names(value, _MARK)
                self.has_audio = self.has_audio or name == "audio"  # an answer that was spoken
        self.add(tokens)

    def show(self, part: Mapping[str, Any]) -> None:
        """Read a part of a message."""
        self.add(_part_size(part))
        self.marks_cache = self.marks_cache or _MARK in part
        self.has_audio = self.has_audio or part.get("type") not in _SILENT

    def add(self, tokens: int | None) -> None:
        """Add up."""
        self.tokens = None if tokens is None or self.tokens is None else self.tokens + tokens


def _reading(request: Request) -> _Reading:
    body = request.body
    if not isinstance(request, ChatRequest):
        return _Reading(tokens=_size(body.get("input")))
    reading = _Reading(marks_cache=_MARK in body)
    for name in _FORMS:
        if body.get(name):
            reading.define(body[name])
    for message in body["messages"]:
        reading.say(message)
    if _is_open(body):
        reading.add(None)
    return reading


def _is_open(body: Mapping[str, Any]) -> bool:
    """Say whether a model is to read more than the request has."""
    if any(body[name] is not None for name in _BEYOND & body.keys()):
        return True
    tools = body.get("tools")
    return bool(tools) and any(tool.get("type") not in _OWN_TOOLS for tool in tools)


def _part_size(part: Mapping[str, Any]) -> int | None:
    match part.get("type"):
        case "text" | "refusal":
            return _size(part)
        case "image_url":
            return _IMAGE_TOKENS
        case "input_audio":
            return _MESSAGE_TOKENS + _size(part) // _AUDIO_BYTES_PER_TOKEN
        case "file":
            return _size(part) if (part["file"].get("file_data") or "").startswith("data:") else None
        case _:
            return None


def _names(value: Any, name: str) -> bool:
    """Say whether an object within a JSON value has a field of this name."""
    if isinstance(value, dict):
        held = cast("dict[str, Any]", value)
        return name in held or any(_names(item, name) for item in held.values())
    return isinstance(value, list) and any(_names(item, name) for item in cast("list[Any]", value))


def _size(value: Any) -> int:
    """Count the bytes of all that is written in a JSON value, and one for each mark between."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))
    if isinstance(value, dict):
        return sum(_size(name) + _size(item) + 6 for name, item in cast("dict[str, Any]", value).items())
    if isinstance(value, list):
        return sum(_size(item) + 1 for item in cast("list[Any]", value))
    return 0 if value is None else 8
