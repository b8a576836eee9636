"""The Scheduler's heartbeat: what is level-triggered looks again, and heals what a crash left undone."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """A moment has come at which every level-triggered decision is taken again."""

    type: ClassVar[str] = "tick.v1"

    event_id: str
    time: datetime  # aware, UTC
