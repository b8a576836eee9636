"""The deployments of the scenarios: every scenario has its own, since what is known of one outlasts a test."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.faults.gateway import Deployed, as_settings
from tests.faults.wires import WIRES

LOADS = ("500", "529")

DEPLOYMENTS = (
    *(Deployed(name=f"limited-{wire}", wire=wire) for wire in WIRES),
    *(Deployed(name=f"pool-{number}", group="pool") for number in range(3)),
    *(Deployed(name=f"outage-{status}", wire="anthropic") for status in LOADS),
    *(Deployed(name=f"outage-{status}-second") for status in LOADS),
    Deployed(name="flapping", params={"cooldown_time": 1}),
    Deployed(name="flapping-second", wire="anthropic"),
    Deployed(name="probed", params={"cooldown_time": 1}),
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
    Deployed(name="closing"),
    *(
        Deployed(name=f"{name}-{wire}", wire=wire, info={"max_input_tokens": 1000})
        for name in ("long", "long-without-chain")
        for wire in WIRES
    ),
    *(Deployed(name=f"long-{wire}-alike", wire=wire, info={"max_input_tokens": 1000}) for wire in WIRES),
    *(Deployed(name=f"long-{wire}-larger", wire=wire, info={"max_input_tokens": 100_000}) for wire in WIRES),
    *(Deployed(name=f"policed-{wire}", wire=wire) for wire in WIRES),
    *(Deployed(name=f"policed-{wire}-second", wire=wire) for wire in WIRES),
    *(Deployed(name=f"policed-{wire}-liberal", wire=wire) for wire in WIRES),
    *(Deployed(name=f"broken-{wire}", wire=wire, params={"cooldown_time": 0}) for wire in WIRES),
    *(Deployed(name=f"going-on-{wire}", wire=wire) for wire in WIRES),
)
CHAINS: Mapping[str, Sequence[str]] = {
    "limited-openai": ["limited-anthropic", "limited-gemini"],
    **{f"outage-{status}": [f"outage-{status}-second"] for status in LOADS},
    "flapping": ["flapping-second"],
    "probed": ["probed-second"],
    "own-fallback": ["own-fallback-second"],
    **{f"long-{wire}": [f"long-{wire}-alike"] for wire in WIRES},
    **{f"long-without-chain-{wire}": [f"long-{wire}-alike"] for wire in WIRES},
    **{f"policed-{wire}": [f"policed-{wire}-second"] for wire in WIRES},
    **{f"broken-{wire}": [f"going-on-{wire}"] for wire in WIRES},
}
ROUTER: Mapping[str, Any] = {
    "context_window_fallbacks": as_settings({f"long-{wire}": [f"long-{wire}-larger"] for wire in WIRES}),
    "content_policy_fallbacks": as_settings({f"policed-{wire}": [f"policed-{wire}-liberal"] for wire in WIRES}),
}
