"""The deployment behind a recorded exchange with Google."""

from typing import Any

from functions.bootstrap import load_catalog
from functions.gateway.catalog import Model
from functions.gateway.ports import Deployment
from tests.builders import deployment, model
from tests.recorded.exchanges import Exchange

_CATALOG = load_catalog()

# Models of the recordings that the catalog no longer has, by the beginning of their names.
_BUDGET = {"thinking_budget": {"min": 128, "max": 32_768, "off": True}}
_LEVELS = {
    "thinking_levels": ["low", "high"],
    "tool_combination": True,
    "multimodal_tool_results": True,
    "thought_signatures_required": True,
}
_RETIRED: dict[str, dict[str, Any]] = {"gemini-2.5": _BUDGET, "gemini-3": _LEVELS}


def recorded_deployment(exchange: Exchange) -> Deployment:
    """Give a deployment of the model that answered."""
    name = exchange.path.rpartition("/")[2].partition(":")[0] or exchange.model
    known = _CATALOG.models.get(("gemini", name)) or _retired(name)
    return deployment("gemini", name, model=known)


def _retired(name: str) -> Model:
    prices = model().prices
    found = (facts for beginning, facts in _RETIRED.items() if name.startswith(beginning))
    return Model(upstream_model=name, prices=prices, capabilities=next(found, {}))
