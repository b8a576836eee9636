"""The shape of the tree: imports point one way, and the core knows no SDK."""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each layer may import itself and those after it.
LAYERS = [
    "main",
    "functions.completion functions.fold_spend functions.send_alert functions.replay functions.ledger",
    "functions.bootstrap",
    "functions.surface functions.adapters functions.providers",
    "functions.gateway",
    "events",
]
SIBLINGS = {"functions.surface", "functions.adapters", "functions.providers"}
GATEWAY_MAY_USE = {"annotated_types", "anyio", "orjson", "pydantic", "pydantic_core", "typing_extensions"}


def modules() -> Iterator[tuple[str, set[str]]]:
    for path in [ROOT / "main.py", *(ROOT / "events").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield name, set(imports_of(ast.parse(path.read_text())))


def imports_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(module: str) -> int | None:
    for depth, prefixes in enumerate(LAYERS):
        if any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes.split()):
            return depth
    return None


MODULES = dict(modules())


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    own = layer_of(module)
    own_part = ".".join(module.split(".")[:2])

    for imported in MODULES[module]:
        other = layer_of(imported)
        if own is None or other is None:
            continue
        assert other >= own, f"{module} imports {imported}"
        other_part = ".".join(imported.split(".")[:2])
        assert own_part == other_part or not {own_part, other_part} <= SIBLINGS, f"{module} imports {imported}"


def third_party(module: str) -> set[str]:
    roots = {imported.split(".")[0] for imported in MODULES[module]}
    return roots - set(sys.stdlib_module_names) - {"events", "functions"}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("events")])
def test_events_import_only_the_standard_library(module: str) -> None:
    assert third_party(module) == set()
    assert not any(imported.startswith("functions") for imported in MODULES[module])


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("functions.gateway")])
def test_the_gateway_imports_no_sdk(module: str) -> None:
    assert third_party(module) <= GATEWAY_MAY_USE


@pytest.mark.parametrize("module", [name for name in MODULES if name != "functions.bootstrap"])
def test_only_bootstrap_reads_the_environment(module: str) -> None:
    source = (ROOT / (module.replace(".", "/") + ".py")).with_suffix(".py")

    assert not source.exists() or "os.environ" not in source.read_text().replace("`os.environ/", "").replace(
        '"os.environ/', ""
    )


def test_everything_that_is_imported_is_required_by_name() -> None:
    """What comes along only with something else may leave with it."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = {line.partition("==")[0].lower() for line in lines if "==" in line}
    owners = packages_distributions()
    imported = {root for module in MODULES for root in third_party(module)}
    imported -= {"google", "pydantic_core"}  # a namespace of many; pinned by pydantic itself

    assert {root for root in imported if not {owner.lower() for owner in owners[root]} & required} == set()
