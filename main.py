"""The three deployed functions."""

from functions.completion import completion
from functions.fold_spend import fold_spend
from functions.send_alert import send_alert

__all__ = ["completion", "fold_spend", "send_alert"]
