"""The table of parameters, in the code and in the docs."""

import pytest

from functions.providers.parameters import KNOWN
from functions.providers.table import PATH, WIRES, render


def test_the_page_is_what_the_code_says() -> None:
    assert PATH.read_text() == render(), "run: python -m functions.providers.table"


@pytest.mark.parametrize("wire", WIRES)
def test_every_wire_treats_every_known_parameter(wire: str) -> None:
    assert WIRES[wire].keys() == set(KNOWN)


@pytest.mark.parametrize("wire", WIRES)
def test_every_treatment_says_how_or_why(wire: str) -> None:
    assert all(treatment.note for treatment in WIRES[wire].values())
