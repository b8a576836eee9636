"""Where what is sent is not what was recorded: exchange → place → why that is right."""

_ADVISED = "the advisor is a second model at its own prices, and the ledger has one model for an answer"

# Exchanges that are left to another model, and why.
REFUSED: dict[str, str] = {
    "messages-sse-test-anthropic-advisor-tool-stream-18d541": _ADVISED,
    "messages-test-anthropic-advisor-tool-14141e": _ADVISED,
    "messages-test-anthropic-advisor-tool-redacted-37a9ee": _ADVISED,
}
DIFFERENCES: dict[str, dict[str, str]] = {
    "messages-10e53c1d-51be-4c64-b5bf-99adb3fa4719-af4fec": {
        "messages[].content[].caller.type": "OpenAI's tool call has no caller; direct is what no caller means",
    },
    "messages-testtokencounts-test-anthropic-704333": {
        "system": "an empty system prompt says nothing, and as a message of no text is left out",
    },
}
