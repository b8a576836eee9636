"""What Anthropic's and Google's wires read alike from OpenAI's: contents and parameters."""

from collections.abc import Iterable, Mapping
from typing import Any, Self, cast

from functions.gateway.errors import BadRequest, UpstreamError
from functions.gateway.ports import ChatRequest
from functions.providers.parameters import asked


def content_parts(content: Any) -> list[dict[str, Any]]:
    """Give a message's content as parts; empty texts are left out."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts = cast("list[dict[str, Any]]", content or [])
    return [part for part in parts if part.get("type") != "text" or part["text"]]


def plain_text(content: Any) -> str:
    """Give a message's content as one text."""
    return "".join(part.get("text") or part.get("refusal") or "" for part in content_parts(content))


def refuse_custom_tools(body: Mapping[str, Any], provider: str) -> None:
    """Raise `UpstreamError` for OpenAI's tools that take free text, offered or called: another model may have them."""
    calls = [call for message in body["messages"] for call in message.get("tool_calls") or ()]
    if any("custom" in tool for tool in (*(body.get("tools") or ()), *calls)):
        raise UpstreamError("unsupported_content", f"custom tools are not supported by {provider}")


def stop_sequences(body: Mapping[str, Any]) -> list[str]:
    """Give `stop` as a list."""
    stop: str | list[str] | None = body.get("stop")
    return [stop] if isinstance(stop, str) else stop or []


def max_output_tokens(body: Mapping[str, Any]) -> int | None:
    """Give `max_completion_tokens`, or its older name."""
    return body.get("max_completion_tokens") or body.get("max_tokens")


def not_taken(body: Mapping[str, Any], taken: Iterable[str]) -> tuple[str, ...]:
    """Name the parameters that ask for something a wire doesn't take, sorted."""
    return tuple(sorted(set(asked(body)).difference(taken)))


def refuse_dropped(request: ChatRequest, dropped: tuple[str, ...], provider: str) -> None:
    """Raise `BadRequest` for a parameter that would be left out, where the configuration says so."""
    if dropped and not request.drop_params:
        message = f"{dropped[0]} is not supported by {provider}; leave it out, or set litellm_settings.drop_params."
        raise BadRequest(message, param=dropped[0], code="unsupported_parameter")


class malformed_requests:
    """Refuse what the edge lets pass unread, as OpenAI has no such field, and what has not the form it must have.

    Raises `BadRequest`; `param` is the path of the field that is being read.
    """

    def __init__(self, provider: str, param: str | None = None) -> None:
        self._provider = provider
        self.param = param

    def __enter__(self) -> Self:
        """Begin to read."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Say what is wrong, if something is."""
        if isinstance(error, (KeyError, IndexError, TypeError, ValueError, AttributeError)):
            field = self.param or "A field beyond OpenAI's own"
            message = f"{field} does not have the form that {self._provider} takes: {error}."
            raise BadRequest(message, param=self.param) from error


def unsupported_part(part: Mapping[str, Any], provider: str) -> UpstreamError:
    """Say that a wire can't carry a content part: another model of the chain may."""
    return UpstreamError("unsupported_content", f"{part.get('type')!r} content is not supported by {provider}")
