"""Money inside the gateway: integers of nano-USD (1 USD = 10⁹). Floats exist only at the edge."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import NewType

NanoUsd = NewType("NanoUsd", int)

NOTHING = NanoUsd(0)
_NANO_PER_USD = 10**9


def nano_usd(usd: Decimal | float | int) -> NanoUsd:
    """Convert an amount that a person wrote, such as `10` or `0.001`, to the nearest nano-USD."""
    exact = Decimal(str(usd)) * _NANO_PER_USD
    return NanoUsd(int(exact.to_integral_value(rounding=ROUND_HALF_EVEN)))


def usd(amount: NanoUsd) -> float:
    """Give USD as a float, for JSON fields and headers at the edge."""
    return amount / _NANO_PER_USD
