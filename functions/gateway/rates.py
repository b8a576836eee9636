"""May this request pass now? Rate limits, answered from allowances of the present minute and of places at once."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta

from events.allowance import Allowance, allowance_id
from events.money import NanoUsd
from events.window import ENDLESS, Window, window_at
from functions.gateway.errors import RateLimited, StoreUnavailable
from functions.gateway.estimates import asked_tokens
from functions.gateway.ports import ChatRequest, Gate, Rate, Request
from functions.gateway.purses import Pace
from functions.gateway.rate_headers import Standing, rate_headers, refusal
from functions.gateway.shares import (
    MinuteShare,
    ParallelShare,
    Part,
    Rest,
    Trust,
    is_scarce,
    minute_size,
    places_sizes,
)

_log = logging.getLogger(__name__)

_MINUTE = "1m"
_UNLIMITED_ANSWER = 1_024  # tokens that are held for an answer that may be as long as it likes
_LIFETIME_S = 20.0  # how long requests may begin on a place: so long it is withheld at least where its instance dies
_LINGER = timedelta(minutes=2)  # after a minute, until its allowances lapse
_KEPT = timedelta(minutes=10)  # longer, so that places in doubt can be asked for again
_PACES_AHEAD = 4  # seconds, of what is needed in one
_SOON_S = 12.0
_IDLE_S = 5.0
_IDLE_WHERE_SCARCE_S = 1.25  # what is used once a second is kept
_IDLE_PLACE_S = 0.5
_FORGOTTEN_S = 60.0
_CLOSED_S = 0.1  # how long it is believed that nothing is left, doubled each time that it is so
_LONGEST_CLOSED_S = 0.4
_LONGEST_CLOSED_IN_VAIN_S = 1.0
_VAIN_S = 5.0  # for so long after requests waited for a place in vain nobody waits for one
_WAITING_AT_ONCE = 16  # requests, for what other instances may give back
_SHARED_S = 10.0  # for so long after it was short of it an instance takes just what is needed of a limit
_STEP_S = 0.08
_TEND_S = 0.5
_GATE_WITHIN_S = 5.0
_CLOSE_WITHIN_S = 5.0


class Meter:
    """This instance's part of one limit, in one window. One task at a time asks the gate, whoever waits."""

    def __init__(
        self,
        rate: Rate,
        window: Window,
        pace: Pace,
        gate: Gate,
        tasks: asyncio.TaskGroup,
        *,
        longest_request_s: float,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self.rate = rate
        self.window = window
        self.pace = pace
        self.counter = _counter(rate, window)
        self._share = ParallelShare() if window.is_endless else MinuteShare()
        self._gate = gate
        self._tasks = tasks
        self._longest_request_s = longest_request_s
        self._now = now
        self._clock = clock
        self._new_id = new_id
        self._admitted = 0  # as the gate last said
        self._each = 1  # what a request needs
        self._used_at = clock()
        self._trust = Trust()
        self._waiting = 0
        self._taking: asyncio.Task[Exception | None] | None = None
        self._unanswered: dict[Allowance, float] = {}  # asked for, and until when usable
        self._rests: deque[Rest] = deque()
        self._returning: asyncio.Task[None] | None = None
        self._closed_s = _CLOSED_S
        self._closed_until = float("-inf")
        self._vain_until = float("-inf")
        self._shared_until = float("-inf")
        self._patient = 0

    @property
    def standing(self) -> Standing:
        """How much is left of the limit."""
        return Standing(self.rate, max(0, self._remaining), self.window.ends_at)

    def is_closed(self, amount: int) -> bool:
        """Say whether so much is not left: requests of this instance have it, or the gate said so a moment ago."""
        return not self._is_elsewhere(amount) or self._clock() < self._closed_until

    def may_open(self, amount: int) -> bool:
        """Say whether others may give back, within moments, what is lacking, so that it is worth to wait a little."""
        is_known_to_be_used = self._clock() < self._vain_until or self._is_past
        return self._is_elsewhere(amount) and not is_known_to_be_used and self._patient < _WAITING_AT_ONCE

    def waited_in_vain(self) -> None:
        """Take note that nobody gave anything back: of a minute it is used, until the gate grants something."""
        self._vain_until = self._clock() + _VAIN_S if self.window.is_endless else float("inf")

    @contextmanager
    def patience(self) -> Generator[None]:
        """Count a request that waits. Others are short of the limit too: for a while nothing is taken ahead."""
        self._patient += 1
        if self._share.is_empty:
            self._trust.lose()
        self._shared_until = self._clock() + _SHARED_S
        try:
            yield
        finally:
            self._patient -= 1

    def limit_is(self, rate: Rate) -> None:
        """Take the limit as a request brings it: it may have been changed."""
        if rate.limit != self.rate.limit:
            self.rate = rate
            self._open()

    def can_hold(self, amount: int) -> bool:
        """Say whether a request can pass without anybody being asked."""
        return self._share.can_hold(amount, self._clock()) and self._remaining >= amount

    def hold(self, amount: int) -> Part:
        """Hold what `can_hold` says that there is."""
        now = self._used_at = self._clock()
        self._each = amount
        self.pace.spent(NanoUsd(amount), now)
        if self.window.is_endless:
            self._trust.wanted(now)
        part = self._share.hold(amount, now)
        if self.rate.kind == "requests":
            part.settle(amount, now)  # it is one, however it goes on
        return part

    def settle(self, part: Part, amount: int) -> None:
        """Say how much a request really was. What it leaves is kept for a moment, for the next one here."""
        before, now = self._share.unspent, self._clock()
        part.settle(amount, now)
        self._used_at = now
        if self._share.unspent != before:
            self._trust.left(now)
            self._open()
        is_kept = not self.window.is_endless or self._trust.keeps or not self._is_scarce
        if not self._is_past and (self._share.unspent < 0 or not is_kept):
            self._give_back(idle_s=0)

    async def fetch(self, amount: int) -> Exception | None:
        """Ask the gate for what a request needs, together with others; gives what went wrong."""
        self._waiting += amount
        self._each = amount
        try:
            return await asyncio.shield(self._start_to_take())
        finally:
            self._waiting -= amount

    def tend(self) -> None:
        """Give back what is not used any more. What the gate did not take is given once more."""
        if self._is_past:
            self._forget()
            return
        if self._unanswered:
            self._start_to_take()  # to find out what was granted
        if self._give_back(idle_s=self._idle_s) and self._is_scarce:
            self._shared_until = self._clock() + _SHARED_S

    def is_over(self) -> bool:
        """Say whether nothing is left to do, and nobody will ask."""
        is_idle = self._is_past or (self._clock() - self._used_at >= _FORGOTTEN_S and not self._unanswered)
        return is_idle and self._share.is_empty and not self._rests and not self._is_at_work

    async def close(self) -> None:
        """Give back everything that no request holds."""
        if not self._is_past:
            self._give_back(idle_s=0)
        await self._returned()

    @property
    def _left(self) -> int:
        return self.rate.limit - self._admitted

    @property
    def _remaining(self) -> int:
        return self._left + self._share.unspent

    def _is_elsewhere(self, amount: int) -> bool:
        """Say whether so much is beyond what requests of this instance hold or have used."""
        return self.rate.limit - self._share.in_use >= amount

    @property
    def _is_scarce(self) -> bool:
        return is_scarce(self._left, self.rate.limit, self._each)

    @property
    def _idle_s(self) -> float:
        if not self._is_scarce:
            return _IDLE_S
        return _IDLE_PLACE_S if self.window.is_endless else _IDLE_WHERE_SCARCE_S

    @property
    def _is_past(self) -> bool:
        return self._now() >= self.window.ends_at

    @property
    def _is_at_work(self) -> bool:
        is_taking = self._taking is not None and not self._taking.done()
        return bool(self._waiting or self._patient) or is_taking or self._is_returning

    @property
    def _is_returning(self) -> bool:
        return self._returning is not None and not self._returning.done()

    def _open(self) -> None:
        self._closed_until, self._closed_s = float("-inf"), _CLOSED_S

    def _forget(self) -> None:
        """Forget a minute that is over: what was taken of it lapses."""
        self._rests.clear()
        self._unanswered.clear()
        if isinstance(self._share, MinuteShare):
            self._share.forget()

    def _start_to_take(self) -> asyncio.Task[Exception | None]:
        if self._taking is None or self._taking.done():
            self._taking = self._tasks.create_task(self._take())
        return self._taking

    async def _take(self) -> Exception | None:
        """Take allowances, for all who wait. Never fails: it tells those who wait."""
        try:
            return await self._take_or_fail()
        except Exception as error:  # noqa: BLE001 (a worker: it must not end the others)
            _log.exception("nothing of %s could be taken", self.counter)
            return error

    async def _take_or_fail(self) -> Exception | None:
        try:
            self._return(self._share.take_out(self._clock(), unused_since=float("-inf")))  # what is over
            await self._returned()  # what is on its way back counts
            if not self._unanswered:  # until there is an answer, the same are asked for
                usable_until = self._clock() + _LIFETIME_S
                self._unanswered = dict.fromkeys(map(self._allowance, self._sizes()), usable_until)
            async with asyncio.timeout(_GATE_WITHIN_S):
                asked = [self._ask(allowance) for allowance in list(self._unanswered)]
                answers = await asyncio.gather(*asked, return_exceptions=True)
        except TimeoutError as error:
            return _unavailable(error)
        admitted = [answer for answer in answers if isinstance(answer, int)]
        self._admitted = max(admitted, default=self._admitted)
        failure = next((answer for answer in answers if isinstance(answer, Exception)), None)
        return _unavailable(failure) if isinstance(failure, StoreUnavailable) else failure

    async def _ask(self, allowance: Allowance) -> int:
        """Take an allowance; gives how much is handed out with it."""
        expires_at = None if self.window.is_endless else allowance.expires_at
        grant = await self._gate.take(allowance, limit=NanoUsd(self.rate.limit), gate_expires_at=expires_at)
        usable_until = self._unanswered.pop(allowance, float("-inf"))
        if grant.granted:
            self._share.put(allowance.allowance_id, grant.granted, usable_until, self._clock())
            self._vain_until = float("-inf")
        if grant.granted < allowance.granted:
            self._close_for_now()
        else:
            self._closed_s = _CLOSED_S
        return grant.admitted

    def _close_for_now(self) -> None:
        self._closed_until = self._clock() + self._closed_s
        longest = _LONGEST_CLOSED_S if self.may_open(self._each) else _LONGEST_CLOSED_IN_VAIN_S
        self._closed_s = min(2 * self._closed_s, longest)

    def _sizes(self) -> list[int]:
        """Say how much to ask for, by allowance; nothing where nobody waits any more."""
        if not self._waiting:
            return []
        if isinstance(self._share, ParallelShare):
            return places_sizes(self._waiting, self._share.taken, self._left)
        now = self._clock()
        is_shared = self._is_scarce and now < self._shared_until
        is_lively = not is_shared and now - self._used_at <= self._idle_s  # else it would go back unused
        ahead = _PACES_AHEAD * (self.pace.ahead(now) or self._each) if is_lively else 0
        soon = round(self.pace.per_s(now) * _SOON_S) if is_lively else 0
        return [minute_size(self._waiting, self._each, ahead, soon, self._left)]

    def _allowance(self, size: int) -> Allowance:
        name = allowance_id(self.counter, self._new_id())
        if not self.window.is_endless:  # it lapses with its minute
            lapses_at = self.window.ends_at + _LINGER
            return Allowance(allowance_id=name, granted=NanoUsd(size), settled_by=lapses_at, expires_at=lapses_at)
        settled_by = self._now() + timedelta(seconds=_LIFETIME_S + self._longest_request_s)
        return Allowance(allowance_id=name, granted=NanoUsd(size), settled_by=settled_by, expires_at=settled_by + _KEPT)

    def _give_back(self, *, idle_s: float) -> bool:
        """Give back what was not used for so long, and say whether there was any."""
        now = self._clock()
        rests = self._share.take_out(now, unused_since=now - idle_s)
        self._return(rests)
        return bool(rests)

    def _return(self, rests: Iterable[Rest]) -> None:
        self._rests.extend(rests)
        if self._rests and not self._is_returning:
            self._returning = self._tasks.create_task(self._return_all())

    async def _returned(self) -> None:
        """Wait until what was given back has arrived."""
        if self._returning is not None:
            await asyncio.shield(self._returning)

    async def _return_all(self) -> None:
        """Give the rests to the gate; those that it can't take now, `tend` tries again. Giving twice is harmless."""
        while self._rests:
            rest = self._rests.popleft()
            if not await self._is_returned(rest):
                self._rests.append(rest)
                return
            self._admitted -= rest.amount

    async def _is_returned(self, rest: Rest) -> bool:
        try:
            async with asyncio.timeout(_GATE_WITHIN_S):
                await self._gate.give_back(rest.allowance_id, NanoUsd(rest.amount))
        except (StoreUnavailable, TimeoutError):
            return False
        except Exception:  # noqa: BLE001 (a worker: it must not end the others; reconciliation gives it back)
            _log.exception("the allowance %s could not be given back", rest.allowance_id)
            return False
        return True


class RateHold:
    """What one request holds of every limit that applies to it."""

    def __init__(self, parts: Sequence[tuple[Meter, Part]], now: Callable[[], datetime]) -> None:
        self._parts = parts
        self._now = now
        self._is_over = False

    @property
    def headers(self) -> dict[str, str]:
        """How much is left of each limit."""
        return rate_headers([meter.standing for meter, _ in self._parts], self._now()) if self._parts else {}

    def settle(self, cost: NanoUsd, tokens: int) -> None:
        """Say how many tokens the request had; its place is free. Whatever is said later is not heard."""
        self._end(requests=1, tokens=tokens)

    def release(self) -> None:
        """End a request that had no tokens, unless it was settled; it was one all the same."""
        self._end(requests=1, tokens=0)

    def withdraw(self) -> None:
        """Have it that there was no request: something else refused it."""
        self._end(requests=0, tokens=0)

    def _end(self, *, requests: int, tokens: int) -> None:
        if self._is_over:
            return
        self._is_over = True
        amounts = {"requests": requests, "tokens": tokens, "parallel": 0}
        for meter, part in self._parts:
            meter.settle(part, amounts[meter.rate.kind])


class RateAdmission:
    """Lets requests pass as far as their rate limits allow.

    `longest_request_s`: how long one may be under way; `patience_s`: how long one waits for what others may give back.
    """

    def __init__(
        self,
        gate: Gate,
        tasks: asyncio.TaskGroup,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        new_id: Callable[[], str],
        longest_request_s: float = 630,
        patience_s: float = 2.0,
        random: Callable[[], float] = lambda: 0.5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gate = gate
        self._tasks = tasks
        self._now = now
        self._clock = clock
        self._new_id = new_id
        self._longest_request_s = longest_request_s
        self._patience_s = patience_s
        self._random = random
        self._sleep = sleep
        self._meters: dict[str, Meter] = {}  # by counter
        self._current: dict[tuple[str, str], Meter] = {}  # by scope and kind: that of the present window

    @asynccontextmanager
    async def hold(self, request: Request, rates: Sequence[Rate]) -> AsyncGenerator[RateHold]:
        """Hold what a request needs of every limit, or nothing of any.

        Where other instances may have what is lacking, and give it back as they don't use it, it waits for a moment.

        Raises `RateLimited`, or `StoreUnavailable` where that can't be known.
        """
        if not rates:
            yield RateHold((), self._now)
            return
        asked = self._asked(request, rates)
        await self._fetch_all(asked)
        hold = RateHold([(meter, meter.hold(amount)) for meter, amount in asked], self._now)
        try:
            yield hold
        finally:
            hold.release()

    async def tend(self) -> None:
        """Give back what is not needed any more, until cancelled."""
        while True:
            await asyncio.sleep(_TEND_S)
            self.tend_once()

    def tend_once(self) -> None:
        """Look at all meters."""
        for meter in list(self._meters.values()):
            try:
                meter.tend()
            except Exception:  # noqa: BLE001 (a worker: it must not end the others, and comes by again)
                _log.exception("the rates of %s could not be tended", meter.counter)
            if meter.is_over():
                self._forget(meter)

    async def close(self) -> None:
        """Give back everything that no request holds. A courtesy: what it can't, reconciliation does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN_S):
                await asyncio.gather(*(meter.close() for meter in self._meters.values()))

    def _forget(self, meter: Meter) -> None:
        del self._meters[meter.counter]
        name = (meter.rate.scope, meter.rate.kind)
        if self._current.get(name) is meter:
            del self._current[name]

    def _asked(self, request: Request, rates: Sequence[Rate]) -> list[tuple[Meter, int]]:
        """Say what a request needs of each limit. Raises `RateLimited` for one that can never pass."""
        is_counted = any(rate.kind == "tokens" for rate in rates)
        read, written = (asked_tokens(request.body), answer_tokens(request)) if is_counted else (0, 0)
        asked: list[tuple[Meter, int]] = []
        now = self._now()
        for rate in rates:
            meter = self._meter(rate, now)
            if rate.kind == "tokens" and read > rate.limit > 0:
                raise self._refused([meter], meter, read, can_pass=False)
            amount = max(1, min(read + written, rate.limit)) if rate.kind == "tokens" else 1
            asked.append((meter, amount))
        return asked

    async def _fetch_all(self, asked: Sequence[tuple[Meter, int]]) -> None:
        """Return once there is enough of everything, which it is until something else is awaited."""
        patient_until = self._clock() + self._patience_s
        while lacking := [(meter, amount) for meter, amount in asked if not meter.can_hold(amount)]:
            if closed := [(meter, amount) for meter, amount in lacking if meter.is_closed(amount)]:
                await self._wait_or_refuse(asked, closed, patient_until)
                continue
            for error in await asyncio.gather(*(meter.fetch(amount) for meter, amount in lacking)):
                if error is not None:
                    raise error

    async def _wait_or_refuse(
        self, asked: Sequence[tuple[Meter, int]], closed: Sequence[tuple[Meter, int]], patient_until: float
    ) -> None:
        """Wait a step for what others may give back. Raises `RateLimited` where they can't, or didn't."""
        hopeless = next(((meter, amount) for meter, amount in closed if not meter.may_open(amount)), None)
        if hopeless is None and self._clock() >= patient_until:
            hopeless = closed[0]
            hopeless[0].waited_in_vain()
        if hopeless is not None:
            meter, amount = hopeless
            raise self._refused([one for one, _ in asked], meter, amount, can_pass=meter.rate.limit > 0)
        with closed[0][0].patience():
            await self._sleep(_STEP_S * (0.5 + self._random()))

    def _refused(self, meters: Sequence[Meter], meter: Meter, amount: int, *, can_pass: bool) -> RateLimited:
        now = self._now()
        refused = refusal(meter.standing, amount, now, can_pass=can_pass)
        refused.headers |= rate_headers([one.standing for one in meters], now)
        return refused

    def _meter(self, rate: Rate, now: datetime) -> Meter:
        name = (rate.scope, rate.kind)
        known = self._current.get(name)
        if known is None or not known.window.starts_at <= now < known.window.ends_at:
            known = self._current[name] = self._made(rate, now, Pace() if known is None else known.pace)
        known.limit_is(rate)
        return known

    def _made(self, rate: Rate, now: datetime, pace: Pace) -> Meter:
        window = ENDLESS if rate.kind == "parallel" else window_at(_MINUTE, now)
        if (known := self._meters.get(_counter(rate, window))) is not None:
            return known
        meter = Meter(
            rate,
            window,
            pace,
            self._gate,
            self._tasks,
            longest_request_s=self._longest_request_s,
            now=self._now,
            clock=self._clock,
            new_id=self._new_id,
        )
        self._meters[meter.counter] = meter
        return meter


def answer_tokens(request: Request) -> int:
    """Say how many tokens are held for a request's answers: as it allows, or a modest number."""
    if not isinstance(request, ChatRequest):
        return 0
    body = request.body
    most: int = body.get("max_completion_tokens") or body.get("max_tokens") or _UNLIMITED_ANSWER
    return most * (body.get("n") or 1)


def _unavailable(error: Exception) -> StoreUnavailable:
    reason = str(error) or f"nothing within {_GATE_WITHIN_S:g} s"
    return StoreUnavailable(f"The store of the rate limits does not answer ({reason}). Try again shortly.")


def _counter(rate: Rate, window: Window) -> str:
    return f"{rate.kind}:{rate.scope}:{window.key}"
