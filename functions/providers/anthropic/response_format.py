"""The form of the answer. Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.gateway.errors import BadRequest
from functions.gateway.exact_json import write_json
from functions.providers.anthropic.schema import strict_schema
from functions.providers.parts import malformed_requests

ANSWER_TOOL = "json_tool_call"  # LiteLLM's name for a tool whose input is the answer
_ANY_OBJECT = {"type": "object", "additionalProperties": True}
_DESCRIPTION = "Gives your whole answer, as the JSON object that the conversation asks for."
_INSTRUCTION = "Answer with one JSON object and nothing else: no Markdown fences, no words around it."


@dataclass(frozen=True, slots=True)
class Format:
    """One of three ways to have a JSON answer, or none: `native`, `tool` (to be forced), `instruction`."""

    native: Mapping[str, Any] | None = None
    tool: Mapping[str, Any] | None = None
    instruction: str | None = None

    @property
    def choice(self) -> dict[str, Any]:
        """Force the tool."""
        return {"type": "tool", "name": ANSWER_TOOL, "disable_parallel_tool_use": True}


def format_of(asked: Mapping[str, Any], capabilities: Mapping[str, Any], *, can_force_tool: bool) -> Format:
    """Decide how to ask for the answer's form. Raises `BadRequest`."""
    wanted: Mapping[str, Any] = asked.get("response_format") or {}
    match wanted.get("type"):
        case None | "text":
            return Format()
        case "json_schema":
            schema = _schema(wanted)
            if capabilities.get("native_structured_output") is not False:
                with malformed_requests("Anthropic", "response_format.json_schema.schema"):
                    return Format(native={"type": "json_schema", "schema": strict_schema(schema)})
        case "json_object":
            schema = None
        case kind:
            raise BadRequest(f"response_format.type: {kind!r} is not known.", param="response_format.type")
    if can_force_tool:
        tool = {"name": ANSWER_TOOL, "description": _DESCRIPTION, "input_schema": schema or _ANY_OBJECT}
        return Format(tool=tool)
    return Format(instruction=_INSTRUCTION if schema is None else f"{_INSTRUCTION} {_following(schema)}")


def _schema(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    path = "response_format.json_schema"
    given: Any = wanted.get("json_schema")
    if not isinstance(given, dict):
        raise BadRequest(f"{path} is missing.", param=path, code="missing_required_parameter")
    schema: Any = given.get("schema")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(schema, dict):
        raise BadRequest(f"{path}.schema must be a JSON Schema.", param=f"{path}.schema")
    return schema  # pyright: ignore[reportUnknownVariableType]


def _following(schema: Mapping[str, Any]) -> str:
    return f"It follows this JSON Schema: {write_json(schema).decode()}"
