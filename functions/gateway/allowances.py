"""May this request spend? Answered from allowances: what this instance was given of each budget, ahead of the need."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from events.allowance import Allowance, allowance_id, uncapped
from events.budget import Budget
from events.money import NOTHING, NanoUsd
from events.window import Window
from functions.gateway.errors import BudgetExceeded, StoreUnavailable
from functions.gateway.ports import NO_LIMITS, Counters, Deployment, Gate, Grant, Limits, Request
from functions.gateway.purses import Open, Pace, Purse, allowance_size
from functions.gateway.worst_case import WorstCase, worst_case

_LEAST_TOKENS = 16  # an answer of fewer is not worth its input
_POLL_S = 0.25
_CLOSED_S = 1.0  # how long it is believed that there is nothing left
_GATE_WITHIN_S = 5.0
_CLOSE_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How allowances are dealt with. Times are in seconds.

    `lifetime_s`: how long requests may begin on one; `longest_request_s`: how long one may then be under way, until its
    spend is recorded; `idle_s`: how long one may lie unused; `patience_s`: how long a request waits for what others may
    give back. `lowers_max_tokens`: an answer is made shorter where that is what the budget can cover.
    """

    lifetime_s: float = 120
    longest_request_s: float = 630
    idle_s: float = 30
    patience_s: float = 5
    lowers_max_tokens: bool = True


class Short(Exception):
    """A window can't cover a request now: `most` is what it can cover."""

    def __init__(self, pool: "Pool", most: NanoUsd) -> None:
        super().__init__(f"{most} of {pool.counter}")
        self.pool = pool
        self.most = most


@dataclass(slots=True, eq=False)
class _Waiter:
    cost: NanoUsd
    covered: asyncio.Future[Open]


class Pool:
    """This instance's part of one window of a budget. One task at a time asks the gate, whoever waits."""

    def __init__(
        self,
        budget: Budget,
        window: Window,
        gate: Gate,
        counters: Counters,
        tasks: asyncio.TaskGroup,
        terms: Terms,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self.budget = budget
        self.window = window
        self.counter = budget.counter(window)
        self.purse = Purse()
        self.admitted = NOTHING  # as the gate last said
        self._gate = gate
        self._counters = counters
        self._tasks = tasks
        self._terms = terms
        self._now = now
        self._clock = clock
        self._new_id = new_id
        self._pace = Pace()
        self._waiting: deque[_Waiter] = deque()
        self._filling: asyncio.Task[None] | None = None
        self._unanswered: tuple[Allowance, float] | None = None
        self._giving_back = asyncio.Lock()
        self._closed_until = float("-inf")
        self._is_short = False  # the gate has said that there is too little left
        self._has_waited_in_vain = False

    @property
    def left(self) -> NanoUsd:
        """What of the budget is not handed out."""
        return NanoUsd(max(0, self.limit - self.admitted))

    @property
    def limit(self) -> NanoUsd:
        """What may be handed out in all."""
        return self.budget.max_budget or NOTHING

    def is_over(self, now: datetime) -> bool:
        """Say whether nothing will be asked of it any more."""
        return not self.purse.allowances and not self._waiting and self.window.ends_at < now

    async def hold(self, cost: NanoUsd, until: float) -> Open:
        """Set an amount aside, asking for more where need be, until then. Raises `Short` or `StoreUnavailable`."""
        if not self._waiting and (covering := self.purse.hold(cost, self._clock())) is not None:
            return covering
        now = self._clock()
        if now < self._closed_until or until <= now:
            raise Short(self, self.purse.most(now))
        waiter = _Waiter(cost, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._fill()
        is_covered = False
        try:
            async with asyncio.timeout(until - now):
                covering = await waiter.covered
                is_covered = True
                return covering
        except TimeoutError:
            if not self._is_short:
                raise StoreUnavailable("The budget's store did not answer in time. Try again shortly.") from None
            self._has_waited_in_vain = True
            self._closed_until = self._clock() + _CLOSED_S
            raise Short(self, self.purse.most(self._clock())) from None
        finally:
            if not is_covered:
                self._withdraw(waiter)

    def settle(self, allowance: Open, held: NanoUsd, cost: NanoUsd, *, is_spent: bool) -> None:
        """Make exact what was held; whoever waits may have the difference."""
        now = self._clock()
        allowance.settle(held, cost, now)
        if is_spent:
            self._pace.spent(cost, now)
        if allowance.free < 0 and not allowance.holds:  # it cost more than its worst case: others must know at once
            self._tasks.create_task(self.give_back(idle_s=self._terms.idle_s))
        self._serve()

    async def give_back(self, *, idle_s: float, too_small_for: NanoUsd = NOTHING) -> None:
        """Give the gate what isn't needed, or is overdrawn. What can't be given back now is reconciled later."""
        now = self._clock()
        async with self._giving_back:
            for done in self.purse.take_out(now, unused_since=now - idle_s, too_small_for=too_small_for):
                with suppress(StoreUnavailable, TimeoutError):
                    async with asyncio.timeout(_GATE_WITHIN_S):
                        await self._gate.give_back(done.allowance_id, done.rest)

    def _fill(self) -> None:
        if self._filling is None or self._filling.done():
            self._filling = self._tasks.create_task(self._fill_while_waited_for())

    async def _fill_while_waited_for(self) -> None:
        """Ask the gate for as long as somebody waits and there is a chance. Never fails: it tells those who wait."""
        try:
            while self._waiting:
                grant = await self._take()
                self._serve()
                if grant is None or not self._waiting or grant.granted >= self._waiting[0].cost:
                    self._is_short = self._has_waited_in_vain = False
                    continue
                self._is_short = True
                if not await self._may_come_back():
                    self._refuse()
                    return
                await asyncio.sleep(_POLL_S)
                self._serve()
        except (StoreUnavailable, TimeoutError) as error:
            self._fail(StoreUnavailable(f"The budget's store does not answer ({error}). Try again shortly."))
        except Exception as error:  # noqa: BLE001 (a worker: who waits raises it)
            self._fail(error)

    async def _take(self) -> Grant | None:
        """Take one allowance, for all who wait; nothing where nobody does any more."""
        async with self._giving_back:
            pass  # what is on its way back counts
        if self._waiting:
            await self._give_back_fragments()
        if not self._waiting:
            return None
        now = self._clock()
        waiting = NanoUsd(sum(waiter.cost for waiter in self._waiting))
        size = allowance_size(self._waiting[0].cost, waiting, self._pace.ahead(now), self.left)
        allowance, usable_until = self._unanswered or (self._allowance(size), now + self._terms.lifetime_s)
        self._unanswered = (allowance, usable_until)  # until there is an answer, the same one is asked for
        async with asyncio.timeout(_GATE_WITHIN_S):
            grant = await self._gate.take(allowance, limit=self.limit)
        self._unanswered = None
        self.admitted = grant.admitted
        if grant.granted:
            name = allowance.allowance_id
            opened = Open(allowance_id=name, granted=grant.granted, usable_until=usable_until, used_at=self._clock())
            self.purse.allowances.append(opened)
        return grant

    async def _give_back_fragments(self) -> None:
        """Give back what lies in pieces too small for the first who waits; where little is left, before asking."""
        first = self._waiting[0].cost
        returning = self.give_back(idle_s=self._terms.idle_s, too_small_for=first)
        if self.left < first:
            await returning
        else:
            self._tasks.create_task(returning)

    def _allowance(self, size: NanoUsd) -> Allowance:
        seconds = self._terms.lifetime_s + self._terms.longest_request_s
        return Allowance(
            allowance_id=allowance_id(self.counter, self._new_id()),
            granted=size,
            settled_by=self._now() + timedelta(seconds=seconds),
        )

    async def _may_come_back(self) -> bool:
        """Say whether somebody, here or elsewhere, has what may be given back: more is admitted than is spent."""
        if self._has_waited_in_vain:
            return False
        if self.purse.is_holding:
            return True
        async with asyncio.timeout(_GATE_WITHIN_S):
            self.admitted = await self._gate.admitted(self.counter)
            spent = (await self._counters.read(self.counter)).spent
        return self._waiting[0].cost <= self.left + max(0, self.admitted - spent) if self._waiting else False

    def _serve(self) -> None:
        """Give those who wait what there is, in their order."""
        while self._waiting:
            covering = self.purse.hold(self._waiting[0].cost, self._clock())
            if covering is None:
                return
            self._waiting.popleft().covered.set_result(covering)

    def _withdraw(self, waiter: _Waiter) -> None:
        """Let somebody go who waits no more, with what may have been given to them a moment ago."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            self._serve()
        if waiter.covered.done() and not waiter.covered.cancelled() and waiter.covered.exception() is None:
            self.settle(waiter.covered.result(), waiter.cost, NOTHING, is_spent=False)
        waiter.covered.cancel()

    def _refuse(self) -> None:
        now = self._clock()
        self._closed_until = now + _CLOSED_S
        while self._waiting:
            self._waiting.popleft().covered.set_exception(Short(self, self.purse.most(now)))

    def _fail(self, error: Exception) -> None:
        while self._waiting:
            self._waiting.popleft().covered.set_exception(error)


class AllowanceHold:
    """`Hold` on an allowance of each budget that applies; in the `uncapped` ones it only counts."""

    def __init__(
        self, parts: Sequence[tuple[Pool, Open]], cost: NanoUsd, max_tokens: int | None, uncapped: Sequence[str] = ()
    ) -> None:
        self.allowance_ids = (*(allowance.allowance_id for _, allowance in parts), *uncapped)
        self.max_tokens = max_tokens
        self._parts = parts
        self._cost = cost
        self._is_over = False

    def settle(self, cost: NanoUsd, tokens: int) -> None:
        """Make it exact; whatever is said later is not heard."""
        self._end(cost, is_spent=True)

    def release(self) -> None:
        """Give all of it up, unless it was settled."""
        self._end(NOTHING, is_spent=False)

    def _end(self, cost: NanoUsd, *, is_spent: bool) -> None:
        if not self._is_over:
            self._is_over = True
            for pool, allowance in self._parts:
                pool.settle(allowance, self._cost, cost, is_spent=is_spent)


class AllowanceAdmission:
    """`Admission` by allowances. Made by `open_admission`, which gives back what is not needed any more.

    Every request needs the global `budget`. `attempts_at_once`: how many of its attempts may run beside each other.
    """

    def __init__(
        self,
        budget: Budget,
        gate: Gate,
        counters: Counters,
        tasks: asyncio.TaskGroup,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        new_id: Callable[[], str],
        exceeded_status: int,
        attempts_at_once: int = 1,
        terms: Terms | None = None,
    ) -> None:
        self._budget = budget
        self._gate = gate
        self._counters = counters
        self._tasks = tasks
        self._now = now
        self._clock = clock
        self._new_id = new_id
        self._exceeded_status = exceeded_status
        self._attempts_at_once = attempts_at_once
        self._terms = terms or Terms()
        self._pools: dict[str, Pool] = {}  # by counter
        self._current: dict[str, Pool] = {}  # by budget: that of the present window

    @asynccontextmanager
    async def hold(
        self, request: Request, chain: Sequence[Deployment], limits: Limits = NO_LIMITS
    ) -> AsyncGenerator[AllowanceHold]:
        """Set the request's worst case aside in every budget that applies, or in none.

        Raises `BudgetExceeded`, or `StoreUnavailable` where that can't be known.
        """
        budgets = (self._budget, *limits.budgets)
        pools = [self._pool(budget) for budget in budgets if budget.max_budget is not None]
        now = self._now()
        uncapped_ids = [uncapped(b.counter(b.window(now))) for b in limits.budgets if b.max_budget is None]
        hold = AllowanceHold((), NOTHING, None, uncapped_ids)
        if pools:
            worst = worst_case(request, chain, times=self._attempts_at_once)
            hold = await self._held(pools, worst, uncapped_ids)
        try:
            yield hold
        finally:
            hold.release()

    async def tend(self) -> None:
        """Give back what lies idle, until cancelled: soon where little is left, and others may need it."""
        while True:
            await asyncio.sleep(1)
            for pool in list(self._pools.values()):
                is_scarce = pool.left < pool.limit // 16
                await pool.give_back(idle_s=1 if is_scarce else self._terms.idle_s)
                if pool.is_over(self._now()):
                    del self._pools[pool.counter]
                    if self._current.get(pool.budget.budget_id) is pool:
                        del self._current[pool.budget.budget_id]

    async def close(self) -> None:
        """Give back everything that no request holds. A courtesy: what it can't, reconciliation does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN_S):
                await asyncio.gather(*(pool.give_back(idle_s=0) for pool in self._pools.values()))

    def _pool(self, budget: Budget) -> Pool:
        now = self._now()
        known = self._current.get(budget.budget_id)
        if known is not None and known.budget == budget and known.window.starts_at <= now < known.window.ends_at:
            return known
        window = budget.window(now)
        known = self._pools.get(budget.counter(window))
        if known is None:
            known = Pool(
                budget,
                window,
                self._gate,
                self._counters,
                self._tasks,
                self._terms,
                now=self._now,
                clock=self._clock,
                new_id=self._new_id,
            )
            self._pools[known.counter] = known
        known.budget = budget  # its limit may have been changed
        self._current[budget.budget_id] = known
        return known

    async def _held(self, pools: Sequence[Pool], worst: WorstCase, uncapped_ids: Sequence[str]) -> AllowanceHold:
        """Hold the worst case; where a budget can't cover it, that of an answer as long as it can."""
        until, max_tokens = self._clock() + self._terms.patience_s, worst.max_tokens
        while True:
            cost = worst.cost(max_tokens)
            try:
                parts = await self._in_all(pools, cost, until)
            except Short as short:
                affordable = worst.affordable_tokens(short.most)
                is_shorter = worst.can_be_lowered and _LEAST_TOKENS <= affordable < max_tokens
                if not self._terms.lowers_max_tokens or not is_shorter:
                    raise self._exceeded(short.pool) from None
                max_tokens = affordable
            else:
                return AllowanceHold(parts, cost, max_tokens if max_tokens < worst.max_tokens else None, uncapped_ids)

    async def _in_all(self, pools: Sequence[Pool], cost: NanoUsd, until: float) -> list[tuple[Pool, Open]]:
        """Hold in each, the narrowest first: who waits for the widest keeps nobody waiting there."""
        parts: list[tuple[Pool, Open]] = []
        try:
            for pool in reversed(pools):
                parts.append((pool, await pool.hold(cost, until)))
        except BaseException:
            AllowanceHold(parts, cost, None).release()
            raise
        return parts

    def _exceeded(self, pool: Pool) -> BudgetExceeded:
        return BudgetExceeded(
            pool.budget.budget_id,
            spent=pool.admitted,
            max_budget=pool.limit,
            ends_at=pool.window.ends_at,
            retry_after_s=int((pool.window.ends_at - self._now()).total_seconds()),
            status=self._exceeded_status,
        )


@asynccontextmanager
async def open_admission(
    make: Callable[[asyncio.TaskGroup], AllowanceAdmission],
) -> AsyncGenerator[AllowanceAdmission]:
    """Tend the admission that `make` gives for as long as the context is open, then give everything back."""
    async with asyncio.TaskGroup() as tasks:
        admission = make(tasks)
        tending = tasks.create_task(admission.tend())
        try:
            yield admission
        finally:
            tending.cancel()
            await admission.close()
