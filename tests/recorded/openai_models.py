"""Deployments of the models that were recorded."""

from functions.bootstrap import load_catalog
from functions.gateway.ports import Deployment
from tests import builders

_CATALOG = load_catalog()


def deployment_of(upstream_model: str) -> Deployment:
    """Give a deployment with what the catalog knows of the model, if it still does."""
    known = _CATALOG.models.get(("openai", upstream_model), builders.model())
    return builders.deployment("openai", upstream_model, model=known)
