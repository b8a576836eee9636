"""The deployments of the scenarios: every scenario has its own, since what is known of one outlasts a test."""

from collections.abc import Mapping, Sequence

from tests.faults.gateway import Deployed
from tests.faults.wires import WIRES

LOADS = ("500", "529")

DEPLOYMENTS = (
    *(Deployed(name=f"limited-{wire}", wire=wire) for wire in WIRES),
    *(Deployed(name=f"pool-{number}", group="pool") for number in range(3)),
    *(Deployed(name=f"outage-{status}", wire="anthropic") for status in LOADS),
    *(Deployed(name=f"outage-{status}-second") for status in LOADS),
    Deployed(name="flapping"),
    Deployed(name="flapping-second", wire="anthropic"),
    Deployed(name="probed"),
    Deployed(name="probed-second", wire="anthropic"),
    Deployed(name="own-fallback"),
    Deployed(name="own-fallback-second", wire="anthropic"),
    Deployed(name="own-fallback-third", wire="gemini"),
    *(Deployed(name=f"retries-{number}") for number in range(4)),
    Deployed(name="impatient", params={"timeout": 30, "stream_timeout": 30}),
    Deployed(name="impatient-second"),
    Deployed(name="private"),
    *(Deployed(name=f"refused-{wire}", wire=wire) for wire in WIRES),
    Deployed(name="leaving"),
)
CHAINS: Mapping[str, Sequence[str]] = {
    "limited-openai": ["limited-anthropic", "limited-gemini"],
    **{f"outage-{status}": [f"outage-{status}-second"] for status in LOADS},
    "flapping": ["flapping-second"],
    "probed": ["probed-second"],
    "own-fallback": ["own-fallback-second"],
}
