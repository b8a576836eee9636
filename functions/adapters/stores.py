"""What a backend provides, opened and closed together."""

from dataclasses import dataclass

from functions.gateway.ports import Accounts, Activity, Bus, Cooldowns, Counters, DeliveredAlerts, Gate, Keys, Ledger


@dataclass(frozen=True, slots=True)
class Stores:
    """One backend's ports."""

    ledger: Ledger
    counters: Counters
    gate: Gate
    keys: Keys
    accounts: Accounts
    activity: Activity
    delivered_alerts: DeliveredAlerts
    cooldowns: Cooldowns
    bus: Bus
