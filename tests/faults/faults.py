"""Every fault of an upstream, by name: what it does, and what a client of the gateway may see of it."""

import email.utils
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.faults import wires
from tests.faults.behaviour import GOOD, Behaviour, Script
from tests.faults.client import Outcome
from tests.faults.wires import WIRES

Mode = Literal["whole", "stream"]
Scripting = Callable[[str], Script]  # a wire's

ANSWER: tuple[Outcome, ...] = ("answer",)
ERROR: tuple[Outcome, ...] = ("error",)
EITHER: tuple[Outcome, ...] = ("answer", "error")
REFUSAL: tuple[Outcome, ...] = ("error", "curtailed")
WHOLE: tuple[Mode, ...] = ("whole",)
STREAM: tuple[Mode, ...] = ("stream",)
TELLS_ITS_START = ("openai", "anthropic")  # wires whose streams say something before the first text, and after the last
STALL_S = 3600.0
PIECES = 17  # of the right answer to a prompt of one word

_JSON = {"content-type": "application/json"}
_HTML = {"content-type": "text/html"}
_EVENTS = {"content-type": "text/event-stream"}
_PAGE = "<!doctype html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_AGAIN = "The rate limit was reached."


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to fail. `alone` and `helped` are what a client may get without and with a fallback to a good upstream.

    `script` gives what a wire's upstream does; it does it again whenever it is asked. `most_attempts` are those on the
    faulty upstream.
    """

    name: str
    script: Scripting
    modes: tuple[Mode, ...] = (*WHOLE, *STREAM)
    wires: tuple[str, ...] = WIRES
    alone: tuple[Outcome, ...] = ERROR
    helped: tuple[Outcome, ...] = ANSWER
    most_attempts: int = 4
    wants_call: bool = False
    is_refused: bool = False  # its connections are: it has no script
    is_ours: bool = False  # the fault: what our own key may not do is no matter of the client's


def refusing(
    wire: str, status: int, message: str = "", *, headers: Mapping[str, str] | None = None, **fields: Any
) -> Behaviour:
    """Answer with an error as the wire's provider does; `fields` are more of its error object's."""
    body, _ = wires.error(wire, status, message)
    body["error"].pop("details", None)
    body["error"] |= fields
    return Behaviour(name=str(status), status=status, headers={**_JSON, **(headers or {})}, body=json.dumps(body))


def context_window(wire: str) -> Behaviour:
    """Refuse a prompt that is too long."""
    match wire:
        case "openai":
            message = "This model's maximum context length is 128000 tokens. However, your messages resulted in 130043."
            return refusing(wire, 400, message, code="context_length_exceeded", param="messages")
        case "anthropic":
            return refusing(wire, 400, "prompt is too long: 208310 tokens > 200000 maximum")
        case _:
            message = "The input token count (1200001) exceeds the maximum number of tokens allowed (1048576)."
            return refusing(wire, 400, message)


def content_policy(wire: str) -> Behaviour:
    """Refuse the content."""
    match wire:
        case "openai":
            message = "The response was filtered due to the prompt triggering the content management policy."
            return refusing(wire, 400, message, code="content_filter")
        case "anthropic":
            return refusing(wire, 400, "Output blocked by content filtering policy")
        case _:
            body = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
            return Behaviour(name="blocked", headers=_JSON, body=json.dumps(body))


def _status(status: int, message: str = "", **headers: str) -> Scripting:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda wire: [refusing(wire, status, message, headers=named)]


def _always(**fields: Any) -> Scripting:
    return lambda _wire: [Behaviour(name="fault", **fields)]


def _once(fault: Fault) -> Fault:
    """Have a fault pass after the first request."""
    return Fault(
        name=f"{fault.name} once",
        script=lambda wire: [*fault.script(wire), GOOD],
        modes=fault.modes,
        wires=fault.wires,
        alone=ANSWER,
    )


def _client_fault(wire: str) -> Script:
    fields: dict[str, Any] = {"param": "temperature"} if wire == "openai" else {}
    return [refusing(wire, 400, "temperature: must be between 0 and 1", **fields)]


def _retry_at_a_date(wire: str) -> Script:
    date = email.utils.formatdate(time.time() + 3600, usegmt=True)
    return [refusing(wire, 429, _AGAIN, headers={"retry-after": date})]


def _retry_info(delay: str) -> Scripting:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    return lambda wire: [refusing(wire, 429, _AGAIN, details=details)]


def _quota(wire: str) -> Script:
    return [refusing(wire, 429, _QUOTA, type="insufficient_quota", code="insufficient_quota")]


def _error_body(wire: str) -> Script:
    return [Behaviour(name="error in a 200", headers=_JSON, body=refusing(wire, 500).body)]


_INSTEAD = (
    Fault(name="400 client fault", script=_client_fault, helped=ERROR, most_attempts=1),
    Fault(name="400 context window", script=lambda wire: [context_window(wire)], helped=EITHER, most_attempts=1),
    Fault(
        name="content policy",
        script=lambda wire: [content_policy(wire)],
        modes=WHOLE,
        alone=REFUSAL,
        helped=(*ANSWER, *REFUSAL),
        most_attempts=1,
    ),
    *(Fault(name=str(status), script=_status(status), is_ours=True, most_attempts=1) for status in (401, 403)),
    Fault(name="404", script=_status(404), most_attempts=1),
    Fault(name="408", script=_status(408)),
    Fault(name="409", script=_status(409)),
    Fault(name="429 no hint", script=_status(429, _AGAIN)),
    Fault(name="429 retry-after 1", script=_status(429, _AGAIN, retry_after="1")),
    Fault(name="429 retry-after 60", script=_status(429, _AGAIN, retry_after="60"), most_attempts=1),
    Fault(name="429 retry-after-ms 100", script=_status(429, _AGAIN, retry_after_ms="100")),
    Fault(name="429 retry-after a date", script=_retry_at_a_date, most_attempts=1),
    Fault(name="429 RetryInfo 0.2s", script=_retry_info("0.2s"), wires=("gemini",)),
    Fault(name="429 RetryInfo 37s", script=_retry_info("37s"), wires=("gemini",), most_attempts=1),
    Fault(name="429 insufficient quota", script=_quota, wires=("openai",), most_attempts=1),
    Fault(name="500", script=_status(500)),
    Fault(name="502 HTML", script=_always(status=502, headers=_HTML, body=_PAGE)),
    Fault(name="503", script=_status(503)),
    Fault(name="504", script=_status(504), most_attempts=1),
    Fault(name="529", script=_status(529)),
    Fault(name="200 error body", script=_error_body),
    Fault(name="200 HTML", script=_always(headers=_HTML, body=_PAGE)),
    Fault(name="200 empty", script=_always(headers=_JSON, body="")),
    Fault(name="200 {}", script=_always(headers=_JSON, body="{}")),
    Fault(name="refused", script=_always(), is_refused=True),
    Fault(name="reset", script=_always(opening="reset")),
    Fault(name="closed", script=_always(opening="close")),
    Fault(name="stall", script=_always(wait_s=STALL_S), most_attempts=1),
    Fault(name="headers then stall", script=_always(cut_after=-1, ending="stall"), most_attempts=1),
)
_PASSING = (
    "408", "429 retry-after 1", "429 retry-after-ms 100", "429 RetryInfo 0.2s", "500", "502 HTML", "503", "529",
    "200 error body", "200 HTML", "200 empty", "reset", "closed",
)  # fmt: skip

_OF_WHOLE_ANSWERS = (
    Fault(name="half, undeclared", script=_always(half="undeclared"), modes=WHOLE),
    Fault(name="half, declared", script=_always(half="declared"), modes=WHOLE),
    Fault(name="half, reset", script=_always(half="declared", ending="reset"), modes=WHOLE),
    Fault(name="drip", script=_always(pause_s=0.05), alone=ANSWER),
    Fault(name="drip for too long", script=_always(pause_s=1), modes=WHOLE, most_attempts=1),
    Fault(name="late", script=_always(wait_s=0.5), alone=ANSWER),
    Fault(name="no usage", script=_always(lacks_usage=True), alone=ANSWER),
    Fault(name="call", script=_always(), alone=ANSWER, wants_call=True),
)


def _of_a_stream(name: str, **fields: Any) -> Fault:
    """Make a fault that can show before any content has."""
    return Fault(name=name, script=_always(**fields), modes=STREAM)


def _breaking(name: str, **fields: Any) -> Fault:
    """Make a fault that shows when content has left: alone, an upstream may break off again and again."""
    return Fault(name=name, script=_always(**fields), modes=STREAM, alone=EITHER)


def _harmless(name: str, wires_that_can: tuple[str, ...] = WIRES, **fields: Any) -> Fault:
    """Make an oddity that hurts nobody."""
    return Fault(name=name, script=_always(**fields), modes=STREAM, wires=wires_that_can, alone=ANSWER)


_OF_STREAMS = (
    *(_of_a_stream(f"{ending} after 0", cut_after=0, ending=ending) for ending in ("reset", "error", "end", "stall")),
    _of_a_stream("garbage alone", headers=_EVENTS, body='data: {"x": \n\n' * 5),
    *(
        _breaking(f"{ending} after 5", cut_after=5, ending=ending)
        for ending in ("reset", "close", "error", "end", "stall")
    ),
    _breaking("reset after 1", cut_after=1, ending="reset"),
    _breaking("end before the last", cut_after=PIECES - 1, ending="end"),
    _breaking("garbage, two in a row", garbage_after=5, garbage_count=2, pause_s=0.02),
    *(
        Fault(
            name=f"{ending} before the finish",
            script=_always(cut_after=PIECES, ending=ending),
            modes=STREAM,
            wires=TELLS_ITS_START,
            alone=EITHER,
        )
        for ending in ("reset", "end", "stall")
    ),
    Fault(
        name="bare error after 5",
        script=_always(cut_after=5, ending="bare_error"),
        modes=STREAM,
        wires=("gemini",),
        alone=EITHER,
    ),
    _harmless("garbage", garbage_after=5, pause_s=0.02),
    _harmless("empties", has_empties=True),
    _harmless("duplicates", TELLS_ITS_START, has_duplicates=True),
    _harmless("no [DONE]", ("openai",), lacks_last=True),
    Fault(
        name="no message_stop",
        script=_always(lacks_last=True),
        modes=STREAM,
        wires=("anthropic",),
        alone=EITHER,
        helped=EITHER,
    ),
    *(
        Fault(
            name=f"call: {ending} in it",
            script=_always(cut_after=1, ending=ending),
            modes=STREAM,
            wires=TELLS_ITS_START,
            helped=EITHER,
            wants_call=True,
        )
        for ending in ("reset", "end", "error", "stall")
    ),
)

FAULTS = (
    Fault(name="none", script=_always(), alone=ANSWER),
    *_INSTEAD,
    *(_once(fault) for fault in _INSTEAD if fault.name in _PASSING),
    *_OF_WHOLE_ANSWERS,
    _once(_OF_WHOLE_ANSWERS[1]),
    *_OF_STREAMS,
)

_WIRE_OF = {"chat.completions": "openai", "messages": "anthropic", "generateContent": "gemini"}
_BUSY = (429, 503, 529)  # where nobody else can be asked, these may be asked again
_HELPED: Mapping[str, tuple[Outcome, ...]] = {
    "client_error": REFUSAL,
    "content_policy": (*ANSWER, *REFUSAL),
    "context_window": (*ANSWER, *REFUSAL),
}


def recorded_faults(cassettes: Path) -> list[Fault]:
    """Give what providers were recorded to answer instead of an answer, or as none, where there are recordings."""
    path = cassettes / "errors.json"
    entries = json.loads(path.read_text())["errors"] if path.exists() else []
    return [_recorded(entry) for entry in entries if entry["phase"] != "mid_stream" and entry["api"] in _WIRE_OF]


def _recorded(entry: Mapping[str, Any]) -> Fault:
    kind = entry["class"]
    behaviour = Behaviour(
        name=entry["id"],
        status=entry["status"],
        headers={**_JSON, **_sendable(entry.get("headers") or {})},
        body=entry["body"] if isinstance(entry["body"], str) else json.dumps(entry["body"]),
    )
    return Fault(
        name=entry["id"].partition(".")[2],
        script=lambda _wire: [behaviour],
        modes=WHOLE,
        wires=(_WIRE_OF[entry["api"]],),
        alone=REFUSAL if kind in _HELPED or "deliver_as" in entry else ERROR,
        helped=_HELPED.get(kind, ANSWER),
        most_attempts=4 if kind == "retry_same" or entry["status"] in _BUSY else 1,
        is_ours=kind == "auth_ours",
    )


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    """Leave out what speaks of the bytes as they were recorded."""
    framing = ("content-length", "content-encoding", "transfer-encoding", "connection")
    return {name: value for name, value in headers.items() if name.lower() not in framing}
