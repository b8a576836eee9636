"""`python -m functions.providers.table`: writes docs/parameters.md from the tables that the encoders follow."""

from collections.abc import Mapping
from pathlib import Path

from functions.providers.anthropic.parameters import PARAMETERS as ANTHROPIC
from functions.providers.google.parameters import PARAMETERS as GOOGLE
from functions.providers.openai.parameters import PARAMETERS as OPENAI
from functions.providers.parameters import KNOWN, Treatment

PATH = Path(__file__).parents[2] / "docs" / "parameters.md"
WIRES: Mapping[str, Mapping[str, Treatment]] = {"OpenAI": OPENAI, "Anthropic": ANTHROPIC, "Google": GOOGLE}

_HEAD = """\
# Parameters

What becomes of each Chat Completions parameter at each provider. Written by `python -m functions.providers.table` from
the tables that the code follows; a test fails when it is stale.

- **sent**: the provider has it, under this name or another.
- **emulated**: the provider has no such parameter, but the same is reached by other means.
- **dropped**: left out, and named in `x-gateway-dropped-params`; a 400 where `litellm_settings.drop_params` is false.
- **refused**: left to another model of the chain, because an answer without it would be a wrong one.

Parameters that stand in no row pass through to the provider whose they are: all unknown ones to OpenAI and compatible
servers, those that their own API documents to Anthropic and Google. What a single model takes is in the
`capabilities` of [`catalog.json`](../functions/gateway/catalog.json).

"""


def render() -> str:
    """Give the page."""
    lines = [f"| parameter | {' | '.join(WIRES)} |", f"|---|{'---|' * len(WIRES)}"]
    for name in KNOWN:
        cells = " | ".join(_cell(table[name]) for table in WIRES.values())
        lines.append(f"| `{name}` | {cells} |")
    return _HEAD + "\n".join(lines) + "\n"


def _cell(treatment: Treatment) -> str:
    note = treatment.note.replace("|", "\\|").replace("\n", " ")
    return f"**{treatment.kind}**: {note}"


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(render())
